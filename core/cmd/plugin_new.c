// `hamroh plugin new`: samples that load and pass their test, one a kind, each short enough to be read whole;
// and the differences of two versions, which diff(1) shows better than we would.
#include "base/id.h"
#include "cmd/plugin.h"
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TITLE "  title = { en = \"@ID@\", uz = \"@ID@\", [\"uz-Cyrl\"] = \"@ID@\", ru = \"@ID@\" },\n"

static const struct hm_plugin_kind kinds[] = {
    {"service", "services",
     "-- What this service is for.\n"
     "return service {\n"
     "  id = \"@ID@\",\n" TITLE "  records = {\n"
     "    @WORD@_note = {\n"
     "      key = \"uuid\",\n"
     "      fields = { person = ref \"person\" { required = true }, text = text { required = true, "
     "max_length = 1000 } },\n"
     "      indexes = { by_person = { fields = { \"person\" } } },\n"
     "    },\n"
     "  },\n"
     "  methods = {\n"
     "    [\"@WORD@.add\"] = {\n"
     "      summary = \"Keeps a note of one's own\",\n"
     "      access = \"signed_in\", writes = true,\n"
     "      params = { text = text { required = true, max_length = 1000 } },\n"
     "      run = function(ctx, p)\n"
     "        local data = { person = ctx.person, text = p.text }\n"
     "        return store.put(\"@WORD@_note\", { data = data, audience = { \"person:\" .. ctx.person } })\n"
     "      end,\n"
     "    },\n"
     "  },\n"
     "  tests = {\n"
     "    [\"a note is seen by its writer only\"] = function(t)\n"
     "      local note = t:call(\"@WORD@.add\", { text = \"hello\" }, { person = \"p1\", roles = { "
     "\"student\" "
     "} })\n"
     "      t:equal(note.data.text, \"hello\")\n"
     "      t:equal(note.audience, { \"person:p1\" })\n"
     "    end,\n"
     "  },\n"
     "}\n"},
    {"matcher", "matchers",
     "-- Who is brought together with whom, and why. The points of `prefer` are 10,000 in all.\n"
     "return matcher {\n"
     "  id = \"@ID@\",\n" TITLE "  form = \"successful-unsuccessful\",\n"
     "  mentor = { where = { status = \"active\", year = at_least(2) }, capacity = \"mentoring.capacity\" "
     "},\n"
     "  mentee = { where = { status = \"active\", year = 1 } },\n"
     "  must = { share \"languages\" },\n"
     "  prefer = {\n"
     "    complement(\"strengths\", \"needs\", { points = 6000 }),\n"
     "    shared(\"interests\", { points = 2500, full_at = 3 }),\n"
     "    equal(\"faculty\", { points = 1500 }),\n"
     "  },\n"
     "  tests = {\n"
     "    [\"people without a common language are never a pair\"] = function(t)\n"
     "      t:never_pairs {\n"
     "        mentor = { status = \"active\", year = 3, languages = { \"uz\" }, mentoring = { capacity = 1 } "
     "},\n"
     "        mentee = { status = \"active\", year = 1, languages = { \"ru\" } },\n"
     "      }\n"
     "    end,\n"
     "  },\n"
     "}\n"},
    {"activity", "activities",
     "-- Something that people do together: its own fields, stages and results.\n"
     "return activity {\n"
     "  id = \"@ID@\",\n" TITLE "  icon = \"star\",\n"
     "  fields = { place = text { required = true, max = 200 }, seats = integer { min = 1, max = 500, "
     "default = 20 } },\n"
     "  stages = { \"announced\", \"held\", \"closed\" },\n"
     "  roles = { participant = {}, organiser = { sees = \"all\" } },\n"
     "  outcome = function(_, _, entries) return { people = #entries } end,\n"
     "  tests = {\n"
     "    [\"the outcome counts who took part\"] = function(t)\n"
     "      t:equal(plugins.get(\"activity\", \"@ID@\").outcome(t.ctx, {}, { {}, {} }).people, 2)\n"
     "    end,\n"
     "  },\n"
     "}\n"},
    {"questionnaire", "questionnaires",
     "-- What is asked, how it is scored, and what the answers mean.\n"
     "local function four(text) return { en = text, uz = text, [\"uz-Cyrl\"] = text, ru = text } end\n\n"
     "return questionnaire {\n"
     "  id = \"@ID@\",\n" TITLE
     "  source = \"Own items; say here where an instrument is from and its licence.\",\n"
     "  audience = { \"self\", \"role:coordinator\" },\n"
     "  minutes = 1,\n"
     "  items = {\n"
     "    likert { \"q1\", four \"I know whom to ask.\", scale = agree5, key = \"help\" },\n"
     "    likert { \"q2\", four \"I feel lost here.\", scale = agree5, key = \"help\", reverse = true },\n"
     "  },\n"
     "  scales = { help = mean { min_answered = 0.5 } },\n"
     "  bands = { help = { { \"low\", below = 3 }, { \"good\" } } },\n"
     "  tests = {\n"
     "    [\"a reversed item counts the other way\"] = scored { answers = { q1 = 5, q2 = 1 }, gives = { help "
     "= 5 } },\n"
     "  },\n"
     "}\n"},
    {"report", "reports",
     "-- Figures with what they mean in words.\n"
     "return report {\n"
     "  id = \"@ID@\",\n" TITLE "  params = { programme = ref \"programme\" },\n"
     "  run = function(_, p)\n"
     "    return { programme = p.programme, pairs = store.count(\"pair\", {}) }\n"
     "  end,\n"
     "  tests = {\n"
     "    [\"an empty institution has no pairs\"] = function(t)\n"
     "      t:equal(plugins.get(\"report\", \"@ID@\").run(t.ctx, {}).pairs, 0)\n"
     "    end,\n"
     "  },\n"
     "}\n"},
};

const struct hm_plugin_kind *hm_plugin_kind(const char *word) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(word, kinds[i].name) == 0 || strcmp(word, kinds[i].folder) == 0) return &kinds[i];
    return NULL;
}

void hm_plugin_kinds_print(void) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        fprintf(stderr, "%s%s", i ? ", " : "", kinds[i].name);
}

// @ID@ becomes the name, @WORD@ the name with _ for what record types and methods may not have in theirs.
static void fill(const char *sample, const char *name, struct hm_buf *out) {
    while (*sample) {
        size_t plain = strcspn(sample, "@");
        hm_buf_add(out, sample, plain);
        sample += plain;
        bool word = strncmp(sample, "@WORD@", 6) == 0;
        if (!word && strncmp(sample, "@ID@", 4) != 0) {
            if (*sample) hm_buf_char(out, *sample++);
            continue;
        }
        for (const char *c = name; *c; c++)
            hm_buf_char(out, word && (*c == '-' || *c == '.') ? '_' : *c);
        sample += word ? 6 : 4;
    }
}

bool hm_plugin_new(const struct hm_plugin_kind *kind, const char *name, const char *dir, struct hm_buf *path,
                   struct hm_error *err) {
    struct hm_buf text = {0};
    bool ok = false;
    if (!hm_name_valid(hm_str_of(name)))
        return hm_fail(err, HM_PARAMS, "%s: a name begins with a letter and holds a-z, 0-9, _ . - only",
                       name);
    hm_buf_printf(path, "%s/%s", dir, kind->folder);
    if (mkdir(path->data, 0755) != 0 && errno != EEXIST) {
        hm_fail(err, HM_UNAVAILABLE, "%s: %s", path->data, strerror(errno));
        goto out;
    }
    hm_buf_printf(path, "/%s.lua", name);
    if (access(path->data, F_OK) == 0) {
        hm_fail(err, HM_CONFLICT, "%s is there already", path->data);
        goto out;
    }
    fill(kind->sample, name, &text);
    ok = hm_write_file(path->data, hm_buf_view(&text), 0644, err);
out:
    hm_buf_free(&text);
    return ok;
}
