/* The conformance transform (../README.md), in both worlds. */
#include <config.h>

static enum { IDENTITY, FILTER, REPEAT, FAIL, ERROR, TRAP, ASSET, MISSING_ASSET, LOG, MODES } mode;
static const char *const MODE_NAMES[] = {"identity", "filter", "repeat", "fail", "error", "trap", "asset", "missing-asset", "log"};

static size_t n; /* which column is `n` */
static alv_bytes greeting;

static bool read_mode(alv_bytes config) {
    alv_options options = alv_read_options(config);
    mode = MODES;
    while (alv_next_option(&options)) {
        if (!alv_equal(options.name, "mode") || options.kind != ALV_OPTION_TEXT) return alv_unknown_option(&options, "mode");
        for (mode = 0; mode < MODES && !alv_equal(options.text, MODE_NAMES[mode]);) mode++;
        if (mode == MODES) return alv_error("mode `%.*s` is not known", (int)options.text.len, (const char *)options.text.data);
    }
    if (options.error) return alv_error("the configuration is refused: %s", options.error);
    return mode < MODES ? true : alv_error("the option `mode` is missing");
}

bool alv_open(alv_bytes config, const alv_field *schema, size_t fields, alv_plan *plan) {
    if (!read_mode(config)) return false;
    const alv_field *number = alv_find(schema, fields, "n");
    if (!number || number->kind != ALV_INT32) return alv_error("an int32 column `n` is needed");
    n = (size_t)(number - schema);
    if (mode == MISSING_ASSET) return alv_asset("parting", &greeting);
    if (mode == ASSET) {
        if (!alv_asset("greeting", &greeting)) return false;
        alv_read(plan, schema[n]);
        n = 0;
        alv_make(plan, alv_new_field("greeting", ALV_UTF8, false, 0));
        return true;
    }
    if (mode == LOG) alv_log(ALV_WARN, "opened: %s", "é 深い 🦀");
    for (size_t i = 0; i < fields; i++) {
        alv_read(plan, schema[i]);
        alv_make(plan, schema[i]);
    }
    return true;
}

#ifdef ALLUVIUM_RECORDS

static void emit(const alv_value *values, size_t count, alv_records *records) {
    memcpy(alv_emit(records), values, count * sizeof *values);
}

bool alv_apply_record(const alv_value *values, size_t count, alv_records *records) {
    bool is_null = values[n].tag == ALV_VALUE_NULL;
    int32_t number = is_null ? 0 : values[n].int32;
    if (mode == FAIL && number % 2) return alv_error("n is %d", number);
    if (mode == ERROR && number == 13) return alv_error("13 is unlucky");
    if (mode == TRAP && number == 13) __builtin_trap();
    if (mode == ASSET) {
        *alv_emit(records) = (alv_value){.tag = ALV_VALUE(ALV_UTF8), .bytes = greeting};
        return true;
    }
    int32_t copies = mode == FILTER ? !is_null && number % 2 == 0 : mode == REPEAT ? number : 1;
    while (copies-- > 0) emit(values, count, records);
    return true;
}

#else

static void push(const alv_batch *batch, uint32_t row, alv_output *output) {
    for (size_t i = 0; i < output->column_count; i++) alv_push_row(&output->columns[i], &batch->columns[i], row);
}

bool alv_apply_batch(const alv_batch *batch, alv_output *output) {
    const alv_column *numbers = &batch->columns[n];
    if (mode == FILTER || mode == REPEAT) alv_begin_origin(output);
    for (uint32_t row = 0; row < batch->rows; row++) {
        bool is_null = alv_is_null(numbers, row);
        int32_t number = is_null ? 0 : alv_get_int32(numbers, row);
        if (mode == FAIL && number % 2) alv_fail(output, row, "n is %d", number);
        if (mode == ERROR && number == 13) return alv_error("13 is unlucky");
        if (mode == TRAP && number == 13) __builtin_trap();
        if (mode == ASSET) {
            alv_push_bytes(&output->columns[0], greeting);
        } else if (mode == FILTER || mode == REPEAT) {
            int32_t copies = mode == REPEAT ? number : !is_null && number % 2 == 0;
            for (; copies > 0; copies--) {
                alv_origin(output, row);
                push(batch, row, output);
            }
        } else {
            push(batch, row, output);
        }
    }
    return true;
}

#endif
