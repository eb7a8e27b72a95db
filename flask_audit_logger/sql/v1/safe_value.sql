-- audit_logger_safe_value: any value as jsonb of up to max_size bytes, whatever it is; never an error.
-- version: 1
CREATE OR REPLACE FUNCTION @schema@.audit_logger_safe_value(value anyelement, max_size bigint, as_text boolean)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    converted jsonb;
    plain text;
BEGIN
    IF num_nulls(value) = 1 THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF NOT as_text THEN
            converted := to_jsonb(value);
            IF converted = 'null' THEN
                -- A JSON null is a value; SQL NULL is none.
                RETURN '{"audit_logger": "json null"}';
            ELSIF converted -> 'audit_logger' IS NOT NULL AND pg_column_size(converted) <= max_size THEN
                -- somebody's value must not be taken for a mark of ours
                RETURN jsonb_build_object('audit_logger', 'value', 'value', converted);
            ELSIF pg_column_size(converted) <= max_size THEN
                RETURN converted;
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- json text that jsonb can't hold (\u0000, a huge exponent), or more than jsonb can hold
        converted := NULL;
    END;
    IF converted IS NULL THEN
        BEGIN
            -- format, because a cast to text may be somebody's own function
            plain := format('%s', value);
            IF octet_length(plain) <= max_size THEN
                RETURN CASE
                    WHEN as_text THEN to_jsonb(plain)
                    ELSE jsonb_build_object('audit_logger', 'text', 'text', plain)
                END;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END IF;
    RETURN jsonb_build_object('audit_logger', 'too large', 'bytes', pg_column_size(value));
END;
$function$;
