-- audit_logger_safe_value: any value as jsonb, whatever it is; never an error.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_safe_value(value anyelement)
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
        ELSIF pg_column_size(converted) <= 67108864 THEN
            RETURN converted;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- json text that jsonb can't hold (\u0000, a huge exponent), or more than jsonb's 256 MB
        BEGIN
            IF octet_length(value::text) <= 67108864 THEN
                RETURN jsonb_build_object('audit_logger', 'text', 'text', value::text);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END;
    RETURN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(value));
END;
$function$;
