-- audit_logger_safe_value: a value as jsonb of up to max_size bytes, from its text; never an error.
-- version: 1
-- The argument "type" is what the text is read as, one of PostgreSQL's own types; "size" is what the value itself takes.
CREATE OR REPLACE FUNCTION @schema@.audit_logger_safe_value(value text, type text, size bigint, max_size bigint)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $function$
DECLARE
    converted jsonb;
BEGIN
    IF octet_length(value) <= max_size THEN
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
        IF converted = 'null' THEN
            -- A JSON null is a value; SQL NULL is none.
            RETURN '{"audit_logger": "json null"}';
        ELSIF pg_column_size(converted) <= max_size THEN
            IF converted -> 'audit_logger' IS NOT NULL THEN
                -- somebody's value must not be taken for a mark of ours
                RETURN jsonb_build_object('audit_logger', 'value', 'value', converted);
            END IF;
            RETURN converted;
        END IF;
    END IF;
    RETURN jsonb_build_object('audit_logger', 'too large', 'bytes', size);
END;
$function$;
