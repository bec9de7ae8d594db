/* An Alluvium transform. */
#include <config.h>
#include <stdlib.h>

/* What follows each text; the option `suffix`. */
static alv_bytes suffix = {(const uint8_t *)"!", 1};

static bool read_config(alv_bytes config) {
    alv_options options = alv_read_options(config);
    while (alv_next_option(&options)) {
        if (!alv_equal(options.name, "suffix") || options.kind != ALV_OPTION_TEXT)
            return alv_unknown_option(&options, "suffix (a text)");
        /* What is read lives until the call returns: keep a copy. */
        uint8_t *copy = malloc(options.text.len + 1);
        if (!copy) return alv_error("out of memory");
        suffix = (alv_bytes){memcpy(copy, options.text.data, options.text.len), options.text.len};
    }
    return options.error ? alv_error("the configuration is refused: %s", options.error) : true;
}

bool alv_open(alv_bytes config, const alv_field *schema, size_t fields, alv_plan *plan) {
    if (!read_config(config)) return false;
    const alv_field *text = alv_find(schema, fields, "text");
    if (!text || text->kind != ALV_UTF8) return alv_error("a utf8 column `text` is needed");
    alv_read(plan, *text);
    alv_make(plan, alv_new_field("shout", ALV_UTF8, true, 0));
    return true;
}

bool alv_apply_record(const alv_value *values, size_t count, alv_records *records) {
    (void)count;
    alv_value *shout = alv_emit(records);
    if (values[0].tag == ALV_VALUE_NULL) {
        shout->tag = ALV_VALUE_NULL;
        return true;
    }
    alv_bytes text = values[0].bytes;
    uint8_t *bytes = alv_alloc(text.len + suffix.len);
    memcpy(bytes, text.data, text.len);
    memcpy(bytes + text.len, suffix.data, suffix.len);
    *shout = (alv_value){.tag = ALV_VALUE(ALV_UTF8), .bytes = {bytes, text.len + suffix.len}};
    return true;
}
