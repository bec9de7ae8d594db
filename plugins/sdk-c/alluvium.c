/* The C side of the contract `alluvium:transform@0.1.0`: the canonical ABI's structs, its exports, and
 * the memory of a call. */
#include "alluvium.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef ALLUVIUM_RECORDS
#define INTERFACE "alluvium:transform/records@0.1.0"
#else
#define INTERFACE "alluvium:transform/batches@0.1.0"
#endif
#define EXPORT(name) __attribute__((export_name(name)))
#define HOST(name) __attribute__((import_module("alluvium:transform/host@0.1.0"), import_name(name)))

/* ---- Memory: every block of a call is in a ring, and freed when the call is over ---- */

typedef struct block {
    struct block *previous, *next;
    size_t padding[2]; /* 16 bytes: what follows is aligned for any type */
} block;

static block ring = {&ring, &ring, {0}};

static block *link_block(block *b) {
    if (!b) __builtin_trap();
    b->previous = ring.previous;
    b->next = &ring;
    b->previous->next = b->next->previous = b;
    return b;
}

static void unlink_block(block *b) {
    b->previous->next = b->next;
    b->next->previous = b->previous;
}

static void *grow(void *memory, size_t bytes) {
    block *b = memory ? (block *)memory - 1 : NULL;
    if (b) unlink_block(b);
    if (bytes > SIZE_MAX - sizeof(block)) __builtin_trap();
    return link_block(realloc(b, sizeof(block) + bytes)) + 1;
}

void *alv_alloc(size_t bytes) { return grow(NULL, bytes); }

void alv_free(const void *memory) {
    if (memory) free((block *)memory - 1);
}

static void end_call(void) {
    while (ring.next != &ring) {
        block *b = ring.next;
        unlink_block(b);
        free(b);
    }
}

EXPORT("cabi_realloc")
void *alv_cabi_realloc(void *memory, size_t old_bytes, size_t align, size_t bytes) {
    (void)align; /* always 16 */
    return grow(old_bytes ? memory : NULL, bytes);
}

/* Makes room for `bytes` in a buffer that doubles. */
static void *reserve(void *buffer, size_t *capacity, size_t bytes) {
    if (bytes <= *capacity) return buffer;
    *capacity = bytes < 32 ? 64 : bytes * 2;
    return grow(buffer, *capacity);
}

/* ---- The contract's structs ---- */

typedef struct {
    void *data;
    size_t len;
} list;

struct alv_plan {
    list inputs, outputs; /* of alv_field */
};

typedef struct {
    uint32_t row;
    alv_bytes message;
} failure;

struct alv_made {
    bool has_origin;
    list origin; /* of uint32_t */
    size_t origin_capacity;
    list failures; /* of failure */
    size_t failures_capacity;
};

struct alv_records {
    list records; /* of list of alv_value */
    size_t capacity;
};

typedef struct {
    uint32_t rows;
    bool has_origin;
    list origin, columns, failures;
} wire_output;

/* result<T, string> */
typedef struct {
    bool is_error;
    union {
        struct alv_plan plan;
        wire_output output;
        list records;
        alv_bytes error;
    };
} wire_result;

static wire_result result;

static alv_bytes format_text(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0) len = 0;
    char *text = alv_alloc((size_t)len + 1);
    text[0] = 0;
    vsnprintf(text, (size_t)len + 1, format, arguments);
    return (alv_bytes){(uint8_t *)text, (size_t)len};
}

bool alv_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    result.error = format_text(format, arguments);
    va_end(arguments);
    return false;
}

/* ---- What the host lends ---- */

HOST("log") void host_log(int32_t level, const uint8_t *message, size_t len);
/* `answer` is a result<list<u8>, string>. */
HOST("asset") void host_asset(const uint8_t *name, size_t len, void *answer);

void alv_log(alv_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    alv_bytes message = format_text(format, arguments);
    va_end(arguments);
    host_log(level, message.data, message.len);
}

bool alv_asset(const char *name, alv_bytes *asset) {
    struct {
        bool is_error;
        alv_bytes bytes;
    } answer;
    host_asset((const uint8_t *)name, strlen(name), &answer);
    if (answer.is_error) return alv_error("%.*s", (int)answer.bytes.len, (const char *)answer.bytes.data);
    if (answer.bytes.len) unlink_block((block *)answer.bytes.data - 1);
    else answer.bytes.data = NULL;
    *asset = answer.bytes;
    return true;
}

/* ---- Plans ---- */

static alv_field *outputs; /* a copy that outlives `open` */
static size_t output_count;

static void add_field(list *fields, alv_field field) {
    fields->data = grow(fields->data, (fields->len + 1) * sizeof field);
    ((alv_field *)fields->data)[fields->len++] = field;
}

void alv_read(alv_plan *plan, alv_field field) { add_field(&plan->inputs, field); }
void alv_make(alv_plan *plan, alv_field field) { add_field(&plan->outputs, field); }

const alv_field *alv_find(const alv_field *schema, size_t fields, const char *name) {
    for (size_t i = 0; i < fields; i++)
        if (alv_equal(schema[i].name, name)) return &schema[i];
    return NULL;
}

alv_field alv_new_field(const char *name, alv_kind kind, bool nullable, uint32_t dim) {
    return (alv_field){{(const uint8_t *)name, strlen(name)}, (uint8_t)kind, nullable, dim};
}

const char *alv_kind_name(uint8_t kind) {
    static const char *const names[] = {"boolean", "int32", "int64", "float32", "float64", "utf8", "binary", "vector", "timestamp"};
    return kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

EXPORT(INTERFACE "#open")
wire_result *alv_export_open(const uint8_t *config, size_t len, const alv_field *schema, size_t fields) {
    struct alv_plan plan = {0};
    result.is_error = !alv_open((alv_bytes){config, len}, schema, fields, &plan);
    if (result.is_error) return &result;
    output_count = plan.outputs.len;
    outputs = malloc(output_count * sizeof *outputs + 1);
    if (!outputs) __builtin_trap();
    if (output_count) memcpy(outputs, plan.outputs.data, output_count * sizeof *outputs);
    result.plan = plan;
    return &result;
}

EXPORT("cabi_post_" INTERFACE "#open") void alv_export_opened(wire_result *r) { (void)r, end_call(); }
EXPORT("cabi_post_" INTERFACE "#apply") void alv_export_applied(wire_result *r) { (void)r, end_call(); }

#ifdef ALLUVIUM_RECORDS

/* ---- Records ---- */

alv_value *alv_emit(alv_records *records) {
    size_t bytes = (records->records.len + 1) * sizeof(list);
    list *all = records->records.data = reserve(records->records.data, &records->capacity, bytes);
    alv_value *values = alv_alloc(output_count * sizeof *values);
    memset(values, 0, output_count * sizeof *values);
    all[records->records.len++] = (list){values, output_count};
    return values;
}

EXPORT(INTERFACE "#apply")
wire_result *alv_export_apply(const alv_value *values, size_t count) {
    alv_records records = {0};
    result.is_error = !alv_apply_record(values, count, &records);
    if (!result.is_error) result.records = records.records;
    return &result;
}

#else

/* ---- Batches ---- */

void alv_begin_origin(alv_output *output) { output->made->has_origin = true; }

void alv_origin(alv_output *output, uint32_t row) {
    struct alv_made *made = output->made;
    size_t bytes = (made->origin.len + 1) * sizeof row;
    uint32_t *origin = made->origin.data = reserve(made->origin.data, &made->origin_capacity, bytes);
    origin[made->origin.len++] = row;
}

void alv_fail(alv_output *output, uint32_t row, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    failure failed = {row, format_text(format, arguments)};
    va_end(arguments);
    struct alv_made *made = output->made;
    size_t bytes = (made->failures.len + 1) * sizeof failed;
    failure *failures = made->failures.data = reserve(made->failures.data, &made->failures_capacity, bytes);
    failures[made->failures.len++] = failed;
}

EXPORT(INTERFACE "#apply")
wire_result *alv_export_apply(uint32_t rows, const alv_column *columns, size_t count) {
    struct alv_made made = {0};
    alv_builder *builders = alv_alloc(output_count * sizeof *builders);
    memset(builders, 0, output_count * sizeof *builders);
    for (size_t i = 0; i < output_count; i++) {
        builders[i].kind = outputs[i].kind;
        builders[i].dim = outputs[i].dim;
    }
    alv_batch batch = {rows, columns, count};
    alv_output output = {builders, output_count, &made};
    result.is_error = !alv_apply_batch(&batch, &output);
    if (result.is_error) return &result;
    alv_column *built = alv_alloc(output_count * sizeof *built);
    for (size_t i = 0; i < output_count; i++) built[i] = builders[i].column;
    result.output = (wire_output){
        .rows = made.has_origin ? (uint32_t)made.origin.len : rows,
        .has_origin = made.has_origin,
        .origin = made.origin,
        .columns = {built, output_count},
        .failures = made.failures,
    };
    return &result;
}

/* ---- Builders ---- */

static void push_bit(uint8_t *bits, uint32_t row, bool bit) {
    uint8_t *byte = bits + (row >> 3);
    if (!(row & 7)) *byte = 0;
    *byte |= (uint8_t)(bit << (row & 7));
}

/* Room for another row of `len` bytes. */
static uint8_t *push(alv_builder *builder, size_t len, bool present) {
    alv_column *column = &builder->column;
    uint32_t row = builder->rows++;
    if (!present && !column->has_validity) {
        /* The first null: all before it are present. */
        column->has_validity = true;
        column->validity = reserve(NULL, &builder->validity_capacity, (row >> 3) + 1);
        memset(column->validity, 0xff, (row >> 3) + 1);
        if (row & 7) column->validity[row >> 3] = (uint8_t)((1 << (row & 7)) - 1);
    }
    if (column->has_validity) {
        column->validity_len = (row >> 3) + 1;
        column->validity = reserve(column->validity, &builder->validity_capacity, column->validity_len);
        push_bit(column->validity, row, present);
    }
    if (len > UINT32_MAX - column->data_len) __builtin_trap();
    size_t start = column->data_len;
    column->data_len += len;
    column->data = reserve(column->data, &builder->data_capacity, column->data_len);
    if (builder->kind == ALV_UTF8 || builder->kind == ALV_BINARY) {
        column->offsets_len = (size_t)row + 2;
        column->offsets = reserve(column->offsets, &builder->offsets_capacity, column->offsets_len * sizeof(uint32_t));
        column->offsets[0] = 0;
        column->offsets[row + 1] = (uint32_t)column->data_len;
    }
    return column->data + start;
}

/* Bytes of a row of a kind that has a fixed width. */
static size_t width_of(const alv_builder *builder) {
    switch (builder->kind) {
    case ALV_INT32:
    case ALV_FLOAT32: return 4;
    case ALV_INT64:
    case ALV_FLOAT64:
    case ALV_TIMESTAMP: return 8;
    case ALV_VECTOR: return (size_t)builder->dim * 4;
    default: return 0;
    }
}

static void push_boolean(alv_builder *builder, bool value, bool present) {
    uint32_t row = builder->rows;
    push(builder, !(row & 7), present);
    push_bit(builder->column.data, row, value);
}

static void push_value(alv_builder *builder, const void *value, size_t len) { memcpy(push(builder, len, true), value, len); }

void alv_push_null(alv_builder *builder) {
    if (builder->kind == ALV_BOOLEAN) {
        push_boolean(builder, false, false);
        return;
    }
    size_t width = width_of(builder);
    memset(push(builder, width, false), 0, width);
}

void alv_push_boolean(alv_builder *builder, bool value) { push_boolean(builder, value, true); }
void alv_push_int32(alv_builder *builder, int32_t value) { push_value(builder, &value, sizeof value); }
void alv_push_int64(alv_builder *builder, int64_t value) { push_value(builder, &value, sizeof value); }
void alv_push_float32(alv_builder *builder, float value) { push_value(builder, &value, sizeof value); }
void alv_push_float64(alv_builder *builder, double value) { push_value(builder, &value, sizeof value); }
void alv_push_bytes(alv_builder *builder, alv_bytes value) { push_value(builder, value.data, value.len); }
uint8_t *alv_push_room(alv_builder *builder, size_t len) { return push(builder, len, true); }
void alv_push_vector(alv_builder *builder, const float *values) { push_value(builder, values, width_of(builder)); }

void alv_push_row(alv_builder *builder, const alv_column *column, uint32_t row) {
    if (alv_is_null(column, row)) {
        alv_push_null(builder);
    } else if (builder->kind == ALV_BOOLEAN) {
        alv_push_boolean(builder, alv_get_boolean(column, row));
    } else if (builder->kind == ALV_UTF8 || builder->kind == ALV_BINARY) {
        alv_push_bytes(builder, alv_get_bytes(column, row));
    } else {
        size_t width = width_of(builder);
        push_value(builder, column->data + row * width, width);
    }
}

#endif
