-- audit_logger_safe_value: any value as jsonb of up to max_size bytes, whatever it is; never an error.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_safe_value(value anyelement, max_size bigint)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    converted jsonb;
BEGIN
    IF num_nulls(value) = 1 THEN
        RETURN NULL;
    END IF;
    BEGIN
        converted := to_jsonb(value);
        IF converted = 'null' THEN
            -- A JSON null is a value; SQL NULL is none.
            RETURN '{"audit_logger": "json null"}';
        ELSIF pg_column_size(converted) <= max_size THEN
            RETURN converted;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- json text that jsonb can't hold (\u0000, a huge exponent), or more than jsonb can hold
        BEGIN
            IF octet_length(value::text) <= max_size THEN
                RETURN jsonb_build_object('audit_logger', 'text', 'text', value::text);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END;
    RETURN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(value));
END;
$function$;
