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

bool alv_apply_batch(const alv_batch *batch, alv_output *output) {
    const alv_column *texts = &batch->columns[0];
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (alv_is_null(texts, row)) {
            alv_push_null(&output->columns[0]);
            continue;
        }
        alv_bytes text = alv_get_bytes(texts, row);
        uint8_t *shout = alv_push_room(&output->columns[0], text.len + suffix.len);
        memcpy(shout, text.data, text.len);
        memcpy(shout + text.len, suffix.data, suffix.len);
    }
    return true;
}
