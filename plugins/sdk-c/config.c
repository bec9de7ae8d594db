#include "config.h"

#include <stdlib.h>

alv_options alv_read_options(alv_bytes config) {
    return (alv_options){.at = config.data, .end = config.data + config.len};
}

bool alv_unknown_option(const alv_options *options, const char *known) {
    return alv_error("option `%.*s` is not known, or not of its type; there are: %s", (int)options->name.len,
                     (const char *)options->name.data, known);
}

static bool fail(alv_options *options, const char *error) {
    options->error = error;
    return false;
}

static void skip_space(alv_options *options) {
    while (options->at < options->end && strchr(" \t\r\n", *options->at) && *options->at) options->at++;
}

/* Whether `c` comes next, which it then skips. */
static bool take(alv_options *options, uint8_t c) {
    skip_space(options);
    if (options->at == options->end || *options->at != c) return false;
    options->at++;
    return true;
}

static bool take_word(alv_options *options, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(options->end - options->at) < len || memcmp(options->at, word, len)) return false;
    options->at += len;
    return true;
}

/* Four hexadecimal digits; -1 if there are none. */
static int32_t read_hex(alv_options *options) {
    int32_t code = 0;
    if (options->end - options->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *options->at++;
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

static uint8_t *write_utf8(uint8_t *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (uint8_t)(leads[more] | code >> (6 * more));
    while (more--) *to++ = (uint8_t)(0x80 | (code >> (6 * more) & 0x3f));
    return to;
}

/* A \u escape, or the two of a surrogate pair, as UTF-8; NULL if it is none. */
static uint8_t *read_unicode(alv_options *options, uint8_t *to) {
    int32_t code = read_hex(options);
    if (code >= 0xd800 && code < 0xdc00) {
        int32_t low = take_word(options, "\\u") ? read_hex(options) : -1;
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code < 0 || (code >= 0xdc00 && code < 0xe000)) {
        return NULL;
    }
    return write_utf8(to, (uint32_t)code);
}

/* A string, after its opening quote. Unescaped it is never longer. */
static bool read_text(alv_options *options, alv_bytes *text) {
    uint8_t *start = alv_alloc((size_t)(options->end - options->at)), *to = start;
    while (options->at < options->end) {
        uint8_t c = *options->at++;
        if (c == '"') {
            *text = (alv_bytes){start, (size_t)(to - start)};
            return true;
        }
        if (c < 0x20) break;
        if (c != '\\') {
            *to++ = c;
            continue;
        }
        if (options->at == options->end) break;
        static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
        uint8_t escape = *options->at++;
        const char *found = escape ? strchr(from, escape) : NULL;
        if (found) {
            *to++ = (uint8_t)into[found - from];
        } else if (escape != 'u' || !(to = read_unicode(options, to))) {
            break;
        }
    }
    return fail(options, "a string is malformed");
}

static bool read_number(alv_options *options) {
    char digits[64];
    size_t len = 0;
    while (options->at < options->end && len < sizeof digits - 1 && *options->at && strchr("+-.0123456789eE", *options->at))
        digits[len++] = (char)*options->at++;
    digits[len] = 0;
    char *parsed;
    options->number = strtod(digits, &parsed);
    return len && !*parsed ? true : fail(options, "it is no flat JSON object: a value is neither text, number, boolean nor null");
}

static bool read_value(alv_options *options) {
    skip_space(options);
    if (take(options, '"')) {
        options->kind = ALV_OPTION_TEXT;
        return read_text(options, &options->text);
    }
    options->kind = ALV_OPTION_BOOLEAN;
    if ((options->boolean = take_word(options, "true")) || take_word(options, "false")) return true;
    options->kind = ALV_OPTION_NULL;
    if (take_word(options, "null")) return true;
    options->kind = ALV_OPTION_NUMBER;
    return read_number(options);
}

/* The end of the object: only space may follow. */
static bool finish(alv_options *options) {
    skip_space(options);
    return options->at == options->end ? false : fail(options, "something follows the JSON object");
}

bool alv_next_option(alv_options *options) {
    if (options->error) return false;
    if (!options->started) {
        if (!take(options, '{')) return fail(options, "it is no JSON object");
        options->started = true;
        if (take(options, '}')) return finish(options);
    } else {
        if (take(options, '}')) return finish(options);
        if (!take(options, ',')) return fail(options, "a `,` or `}` is missing");
    }
    if (!take(options, '"')) return fail(options, "a member has no name");
    if (!read_text(options, &options->name)) return false;
    if (!take(options, ':')) return fail(options, "a `:` is missing");
    return read_value(options);
}
