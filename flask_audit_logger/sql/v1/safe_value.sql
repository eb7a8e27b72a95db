-- audit_logger_safe_value: a value as jsonb of up to max_size bytes, from its text; never an error.
-- version: 1
-- The argument "type" is what the text is read as, one of PostgreSQL's own types; "size" is what the value itself takes.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_safe_value(value text, type text, size bigint, max_size bigint)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    converted jsonb;
BEGIN
    IF type = 'json' AND octet_length(value) <= 2000 AND value !~ '\\u|[0-9][eE]|[0-9]{200}' THEN
        -- Nothing in it that jsonb refuses, so it needs no sub-transaction. This is the usual case.
        converted := value::jsonb;
    ELSIF octet_length(value) <= max_size THEN
        BEGIN
            IF type = 'json' THEN
                converted := value::jsonb;
            ELSIF type = 'text' THEN
                converted := to_jsonb(value);
            ELSE
                EXECUTE format('SELECT to_jsonb($1::%s)', type) INTO converted USING value;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- json text that jsonb can't hold (\u0000, a huge exponent), or more than jsonb can hold
            RETURN jsonb_build_object('audit_logger', 'text', 'text', value);
        END;
    END IF;
    IF converted IS NULL OR pg_column_size(converted) > max_size THEN
        RETURN jsonb_build_object('audit_logger', 'too large', 'bytes', size);
    ELSIF converted = 'null' THEN
        -- A JSON null is a value; SQL NULL is none.
        RETURN '{"audit_logger": "json null"}';
    ELSIF converted -> 'audit_logger' IS NOT NULL THEN
        -- somebody's value must not be taken for a mark of ours
        RETURN jsonb_build_object('audit_logger', 'value', 'value', converted);
    END IF;
    RETURN converted;
END;
$function$;
