// A plugin's declaration: any text as a plugin either loads, and then its catalogue and types are such as the
// server takes, or gives problems that are JSON. The kind is told by the first byte. Only the checks are
// loaded beside it, not what ships.
#include "engine/internal.h"
#include "script/host.h"
#include <stdio.h>
#include <stdlib.h>

static struct hm_sources checks;

static void take_checks(void) {
    struct hm_sources all = {0};
    struct hm_error err = {0};
    if (!hm_sources_read_shipped(&all, HAMROH_SOURCE_DIR "/plugins", &err) || !hm_sandbox_start(&err))
        abort();
    for (size_t i = 0; i < all.count; i++) {
        const struct hm_source *s = &all.list[i];
        if (strcmp(s->kind, "lib") == 0)
            hm_sources_add(&checks, s->kind, s->id, s->file, s->layer, (struct hm_str){s->text, s->len});
    }
    hm_sources_free(&all);
}

static void look_at(const struct hm_host *host, bool loaded) {
    struct hm_buf list = {0};
    struct hm_json json;
    struct catalogue *catalogue = NULL;
    struct hm_error err = {0};
    hm_buf_char(&list, '[');
    hm_buf_str(&list, hm_buf_view(&host->problems));
    hm_buf_char(&list, ']');
    if (!hm_json_parse(hm_buf_view(&list), &json, NULL) || loaded != (hm_json_count(json) == 0)) abort();
    if (loaded) {
        if (!hm_cat_parse(hm_buf_view(&host->catalogue), &catalogue, &err)) {
            fprintf(stderr, "the server does not take it: %s\n%s\n", err.message, host->catalogue.data);
            abort();
        }
        hm_cat_unref(catalogue);
    }
    hm_buf_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const kinds[] = {"service", "matcher", "activity", "questionnaire", "report"};
    static struct hm_host host;
    if (!size) return 0;
    if (!checks.count) {
        take_checks();
        host.zone_minutes = 300;
        host.limits = (struct hm_limits){
            .cpu_ms = 200, .memory_bytes = 64u << 20, .output_bytes = 1u << 20, .log_lines = 100};
        snprintf(host.institution, sizeof host.institution, "fuzz");
    }
    const char *kind = kinds[data[0] % 5];
    char file[64];
    snprintf(file, sizeof file, "%s/fuzz.lua", hm_kind_folder(kind));
    for (size_t i = 0; i < checks.count; i++) {
        const struct hm_source *s = &checks.list[i];
        hm_sources_add(&host.sources, s->kind, s->id, s->file, s->layer, (struct hm_str){s->text, s->len});
    }
    hm_sources_add(&host.sources, kind, "", file, "institution",
                   (struct hm_str){(const char *)data + 1, size - 1});
    bool loaded = hm_host_load(&host);
    look_at(&host, loaded);
    hm_host_drop(&host);
    hm_sources_free(&host.sources);
    return 0;
}
