-- change_actor_type: gives the keys of actors in the log another type. What can't be one stays as name and in marks.
-- version: 1
DO $actor_type$
DECLARE
    found record;
    fits boolean;
    known text[] := '{}';
    unknown text[] := '{}';
BEGIN
    -- nobody adds a key of the old type between a look at them and the end
    LOCK TABLE @schema@.transaction IN ACCESS EXCLUSIVE MODE;
    FOR found IN
        SELECT t.actor_id::text AS actor_id
        FROM @schema@.transaction AS t
        WHERE t.actor_id IS NOT NULL
        UNION
        SELECT t.marks #>> '{unreadable,actor_id}'::text[]
        FROM @schema@.transaction AS t
        WHERE t.actor_id IS NULL
            AND t.marks #>> '{unreadable,actor_id}'::text[] IS NOT NULL
    LOOP
        BEGIN
            -- A key is the same only if it is the same text, 7 is not 007; a UUID has several spellings.
            fits := (found.actor_id::@type@)::text = found.actor_id
                OR pg_catalog.pg_typeof(found.actor_id::@type@)::oid = 'uuid'::regtype::oid;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            fits := false;
        END;
        IF fits THEN
            known := pg_catalog.array_append(known, found.actor_id);
        ELSE
            unknown := pg_catalog.array_append(unknown, found.actor_id);
        END IF;
    END LOOP;

    UPDATE @schema@.transaction AS t
    SET actor_id = NULL,
        actor_label = coalesce(t.actor_label, t.actor_id::text),
        marks = t.marks || pg_catalog.jsonb_build_object(
            'unreadable',
            pg_catalog.jsonb_build_object('actor_id', t.actor_id::text)
            || CASE WHEN t.actor_label IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('actor_label', t.actor_label) END
            || CASE
                WHEN t.marks ? 'unreadable' THEN pg_catalog.jsonb_build_object('context', t.marks -> 'unreadable')
                ELSE '{}'
            END
        )
    WHERE t.actor_id::text = ANY (unknown);

    ALTER TABLE @schema@.transaction ALTER COLUMN actor_id TYPE @type@ USING actor_id::text::@type@;

    -- What an earlier type could not hold, this one may.
    UPDATE @schema@.transaction AS t
    SET actor_id = (t.marks #>> '{unreadable,actor_id}'::text[])::@type@,
        actor_label = CASE
            WHEN t.marks -> 'unreadable' ? 'actor_label' THEN t.actor_label
            ELSE nullif(t.actor_label, t.marks #>> '{unreadable,actor_id}'::text[])
        END,
        marks = t.marks - 'unreadable'
            || CASE
                WHEN t.marks -> 'unreadable' ? 'context'
                    THEN pg_catalog.jsonb_build_object('unreadable', t.marks #> '{unreadable,context}'::text[])
                ELSE '{}'
            END
    WHERE t.actor_id IS NULL
        AND t.marks #>> '{unreadable,actor_id}'::text[] = ANY (known)
        AND (t.marks -> 'unreadable') - '{actor_id,actor_label,context}'::text[] = '{}';
END;
$actor_type$;
