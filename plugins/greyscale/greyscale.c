/* An Alluvium transform that turns the raw pixels of pictures to grey. See README.md. */
#include <config.h>

/* How bytes make a pixel. */
typedef struct {
    const char *name;
    uint32_t bytes, red, green, blue;
} layout;

static const layout LAYOUTS[] = {{"rgb", 3, 0, 1, 2}, {"bgr", 3, 2, 1, 0}, {"rgba", 4, 0, 1, 2}, {"bgra", 4, 2, 1, 0}};

/* Weights of the colours in 1/65536; each set sums up to 65536. */
typedef struct {
    const char *name;
    uint32_t red, green, blue;
} luma;

static const luma LUMAS[] = {{"bt601", 19595, 38470, 7471}, {"bt709", 13933, 46871, 4732}};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define KNOWN "layout (rgb, bgr, rgba, bgra), luma (bt601, bt709)"

static layout pixel = {"rgb", 3, 0, 1, 2};
static luma weights = {"bt601", 19595, 38470, 7471};

static bool set_option(const alv_options *option) {
    if (option->kind != ALV_OPTION_TEXT) return alv_unknown_option(option, KNOWN);
    for (size_t i = 0; alv_equal(option->name, "layout") && i < COUNT(LAYOUTS); i++)
        if (alv_equal(option->text, LAYOUTS[i].name)) return pixel = LAYOUTS[i], true;
    for (size_t i = 0; alv_equal(option->name, "luma") && i < COUNT(LUMAS); i++)
        if (alv_equal(option->text, LUMAS[i].name)) return weights = LUMAS[i], true;
    return alv_unknown_option(option, KNOWN);
}

bool alv_open(alv_bytes config, const alv_field *schema, size_t fields, alv_plan *plan) {
    alv_options options = alv_read_options(config);
    while (alv_next_option(&options))
        if (!set_option(&options)) return false;
    if (options.error) return alv_error("the configuration is refused: %s", options.error);
    const alv_field *pixels = alv_find(schema, fields, "pixels");
    if (!pixels || pixels->kind != ALV_BINARY) return alv_error("a binary column `pixels` is needed");
    alv_read(plan, *pixels);
    for (const char *const *name = (const char *const[]){"width", "height", NULL}; *name; name++) {
        const alv_field *size = alv_find(schema, fields, *name);
        if (!size || size->kind != ALV_INT32) return alv_error("an int32 column `%s` is needed", *name);
        alv_read(plan, *size);
    }
    alv_make(plan, alv_new_field("pixels", ALV_BINARY, true, 0));
    return true;
}

/* Constant strides and places let the compiler vectorize each layout. */
static inline __attribute__((always_inline)) void to_grey(const uint8_t *from, uint8_t *to, size_t pixels, layout p) {
    for (size_t i = 0; i < pixels; i++, from += p.bytes)
        to[i] = (uint8_t)((from[p.red] * weights.red + from[p.green] * weights.green + from[p.blue] * weights.blue + 32768) >> 16);
}

static void convert(const uint8_t *from, uint8_t *to, size_t pixels) {
    if (pixel.bytes == 3) to_grey(from, to, pixels, (layout){"", 3, pixel.red, 1, pixel.blue});
    else to_grey(from, to, pixels, (layout){"", 4, pixel.red, 1, pixel.blue});
}

bool alv_apply_batch(const alv_batch *batch, alv_output *output) {
    const alv_column *pixels = &batch->columns[0], *widths = &batch->columns[1], *heights = &batch->columns[2];
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (alv_is_null(pixels, row)) {
            alv_push_null(&output->columns[0]);
            continue;
        }
        alv_bytes colours = alv_get_bytes(pixels, row);
        int64_t width = alv_is_null(widths, row) ? -1 : alv_get_int32(widths, row);
        int64_t height = alv_is_null(heights, row) ? -1 : alv_get_int32(heights, row);
        uint64_t count = (uint64_t)(width * height);
        if (width < 0 || height < 0 || count * pixel.bytes != colours.len) {
            alv_fail(output, row, "%zu bytes are no %lldx%lld pixels of %u bytes (%s)", colours.len, (long long)width,
                     (long long)height, (unsigned)pixel.bytes, pixel.name);
            alv_push_null(&output->columns[0]);
            continue;
        }
        convert(colours.data, alv_push_room(&output->columns[0], (size_t)count), (size_t)count);
    }
    return true;
}
