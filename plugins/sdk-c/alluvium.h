/* Writes an Alluvium transform in C.
 *
 * A plugin defines alv_open and one of alv_apply_batch and alv_apply_record, and is compiled together
 * with alluvium.c: with -DALLUVIUM_RECORDS for the world `record-transform`, without it for
 * `batch-transform`. See README.md for the commands.
 *
 * Memory: what the host hands over, and what these functions allocate, lives until the call returns.
 * What must live longer (a transform's options) belongs into the plugin's own variables or malloc.
 * When memory runs out the plugin traps: the host fails the records that need so much.
 */
#ifndef ALLUVIUM_H
#define ALLUVIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The type of a column, in the order of the contract. */
typedef enum {
    ALV_BOOLEAN,
    ALV_INT32,
    ALV_INT64,
    ALV_FLOAT32,
    ALV_FLOAT64,
    ALV_UTF8,
    ALV_BINARY,
    ALV_VECTOR,
    ALV_TIMESTAMP, /* microseconds since 1970-01-01 UTC, an int64 */
} alv_kind;

/* Bytes, or UTF-8 text, with their length; no zero at the end. */
typedef struct {
    const uint8_t *data;
    size_t len;
} alv_bytes;

/* A column's name and type. */
typedef struct {
    alv_bytes name;
    uint8_t kind; /* an alv_kind */
    bool nullable;
    uint32_t dim; /* the length of a vector, else 0 */
} alv_field;

/* A column of a batch, flat; read it with the functions below. */
typedef struct {
    bool has_validity;
    uint8_t *validity;
    size_t validity_len;
    uint32_t *offsets;
    size_t offsets_len;
    uint8_t *data;
    size_t data_len;
} alv_column;

/* ---- What a plugin defines ---- */

/* What a transform reads and makes; filled with alv_read and alv_make. */
typedef struct alv_plan alv_plan;

/* Called once, before any batch: reads the JSON `config` (see config.h), looks at the columns of
 * `schema`, and says what it reads and makes. To refuse: return alv_error("why"). */
bool alv_open(alv_bytes config, const alv_field *schema, size_t fields, alv_plan *plan);

/* The rows to transform: the columns in the order in which alv_read named them. */
typedef struct {
    uint32_t rows;
    const alv_column *columns;
    size_t column_count;
} alv_batch;

/* What is made of a batch: `columns[i]` is a builder for the i-th column that alv_make named. */
typedef struct alv_builder alv_builder;
typedef struct alv_output {
    alv_builder *columns;
    size_t column_count;
    struct alv_made *made; /* what alv_origin and alv_fail gathered */
} alv_output;

/* Transforms a batch: pushes a value for every row into every column of `output`, null (or anything)
 * where a row failed. A transform that filters or repeats rows calls alv_begin_origin first, and pushes
 * a value for every alv_origin instead.
 * return alv_error("why") fails the whole batch; report single records with alv_fail instead. */
bool alv_apply_batch(const alv_batch *batch, alv_output *output);

/* One value of a record. */
typedef struct {
    uint8_t tag; /* ALV_VALUE_NULL, or 1 + an alv_kind */
    union {
        bool boolean;
        int32_t int32;
        int64_t int64; /* also of a timestamp */
        float float32;
        double float64;
        alv_bytes bytes; /* of utf8 and binary */
        struct {
            const float *data;
            size_t len;
        } vector;
    };
} alv_value;

/* The tag of a value that is null, and of one of a kind. */
#define ALV_VALUE_NULL 0
#define ALV_VALUE(kind) ((uint8_t)(1 + (kind)))

/* What is made of a record; filled with alv_emit. */
typedef struct alv_records alv_records;

/* Transforms a record, the values of what alv_read named: into none (it is filtered), one or many
 * records, each an alv_emit. return alv_error("why") fails the record. */
bool alv_apply_record(const alv_value *values, size_t count, alv_records *records);

/* ---- What a plugin calls ---- */

/* Names a column to read; it must be in the schema. */
void alv_read(alv_plan *plan, alv_field field);
/* Names a column to make. */
void alv_make(alv_plan *plan, alv_field field);
/* The field `name` of a schema, or NULL. */
const alv_field *alv_find(const alv_field *schema, size_t fields, const char *name);
/* A field; `dim` is 0 but for vectors. `name` must outlive the call. */
alv_field alv_new_field(const char *name, alv_kind kind, bool nullable, uint32_t dim);
/* A kind as the contract spells it. */
const char *alv_kind_name(uint8_t kind);

/* Says why a call fails, as printf would, and returns false. */
bool alv_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef enum { ALV_TRACE, ALV_DEBUG, ALV_INFO, ALV_WARN, ALV_ERROR } alv_level;
/* Writes a line to the host's log, as printf would. */
void alv_log(alv_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fetches an asset that was granted; the bytes are the plugin's own, for alv_free. When it returns
 * false alv_error has been called: the host names the assets that there are. */
bool alv_asset(const char *name, alv_bytes *asset);
void alv_free(const void *memory);

/* Memory until the call returns, aligned for any type. */
void *alv_alloc(size_t bytes);

/* From here on the output rows are those that alv_origin names: none yet. */
void alv_begin_origin(alv_output *output);
/* Another output row, which comes from the input row `row`; rows must not decrease. */
void alv_origin(alv_output *output, uint32_t row);
/* The input row `row` failed, for a reason as printf would write it. */
void alv_fail(alv_output *output, uint32_t row, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Another record, of as many values as alv_make named, all null yet. */
alv_value *alv_emit(alv_records *records);

static inline bool alv_equal(alv_bytes bytes, const char *text) {
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

/* ---- Reading a column: no checks, the host made them ---- */

static inline bool alv_is_null(const alv_column *column, uint32_t row) {
    return column->has_validity && !(column->validity[row >> 3] >> (row & 7) & 1);
}
static inline bool alv_get_boolean(const alv_column *column, uint32_t row) {
    return column->data[row >> 3] >> (row & 7) & 1;
}
static inline int32_t alv_get_int32(const alv_column *column, uint32_t row) {
    return ((const int32_t *)column->data)[row];
}
static inline int64_t alv_get_int64(const alv_column *column, uint32_t row) {
    return ((const int64_t *)column->data)[row];
}
static inline float alv_get_float32(const alv_column *column, uint32_t row) {
    return ((const float *)column->data)[row];
}
static inline double alv_get_float64(const alv_column *column, uint32_t row) {
    return ((const double *)column->data)[row];
}
/* A row of a utf8 or binary column. */
static inline alv_bytes alv_get_bytes(const alv_column *column, uint32_t row) {
    uint32_t start = column->offsets[row];
    return (alv_bytes){column->data + start, column->offsets[row + 1] - start};
}
/* A row of a vector column: `dim` numbers. */
static inline const float *alv_get_vector(const alv_column *column, uint32_t row, uint32_t dim) {
    return (const float *)column->data + (size_t)row * dim;
}

/* ---- Building a column: a push a row ---- */

struct alv_builder {
    alv_column column;
    uint8_t kind;
    uint32_t dim;
    uint32_t rows;
    size_t data_capacity, offsets_capacity, validity_capacity;
};

void alv_push_null(alv_builder *builder);
void alv_push_boolean(alv_builder *builder, bool value);
void alv_push_int32(alv_builder *builder, int32_t value);
/* Also of a timestamp. */
void alv_push_int64(alv_builder *builder, int64_t value);
void alv_push_float32(alv_builder *builder, float value);
void alv_push_float64(alv_builder *builder, double value);
/* Text or bytes. */
void alv_push_bytes(alv_builder *builder, alv_bytes value);
/* A row of `len` bytes, to be written by the caller before the next push: saves a copy. */
uint8_t *alv_push_room(alv_builder *builder, size_t len);
/* `dim` numbers. */
void alv_push_vector(alv_builder *builder, const float *values);
/* A row of a column of the same kind and dimension. */
void alv_push_row(alv_builder *builder, const alv_column *column, uint32_t row);

#endif
