/* Reads a transform's options: the members of a flat JSON object, one after the other.
 *
 *     alv_options options = alv_read_options(config);
 *     while (alv_next_option(&options)) {
 *         if (alv_equal(options.name, "quality") && options.kind == ALV_OPTION_NUMBER) quality = options.number;
 *         else return alv_unknown_option(&options, "quality (a number)");
 *     }
 *     if (options.error) return alv_error("the configuration is refused: %s", options.error);
 */
#ifndef ALLUVIUM_CONFIG_H
#define ALLUVIUM_CONFIG_H

#include "alluvium.h"

typedef enum { ALV_OPTION_NULL, ALV_OPTION_BOOLEAN, ALV_OPTION_NUMBER, ALV_OPTION_TEXT } alv_option_kind;

typedef struct {
    /* The member that was read last. */
    alv_bytes name;
    alv_option_kind kind;
    bool boolean;
    double number;
    alv_bytes text;
    /* Why reading ended early, or NULL. */
    const char *error;
    /* What is left to read. */
    const uint8_t *at, *end;
    bool started;
} alv_options;

alv_options alv_read_options(alv_bytes config);
/* Reads the next member; false at the end and after an error. Its bytes live until the call returns. */
bool alv_next_option(alv_options *options);
/* Refuses the option that was read last: alv_error with its name and with those that there are. */
bool alv_unknown_option(const alv_options *options, const char *known);

#endif
