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

// clang-format off: lines of Lua, as they will be written
static const struct hm_plugin_kind kinds[] = {
    {"service", "services",
     "-- A service declares record types, and methods that clients call. Nothing is kept between two calls "
     "but records.\n"
     "-- Try it:     hamroh plugin test services/@ID@.lua\n"
     "-- Look at it: hamroh plugin try services/@ID@.lua --method @WORD@.add --params '{\"text\":\"hello\"}' "
     "--data DIR --institution ID\n"
     "return service {\n"
     "  id = \"@ID@\",\n"
     "  -- Whatever people read is in all four languages.\n"
     "  title = { en = \"My notes\", uz = \"Eslatmalarim\", [\"uz-Cyrl\"] = \"Эслатмаларим\", ru = \"Мои "
     "заметки\" },\n"
     "\n"
     "  -- What is stored: the shape of each record, and the orders in which it can be found.\n"
     "  records = {\n"
     "    @WORD@_note = {\n"
     "      key = \"uuid\",\n"
     "      fields = {\n"
     "        person = ref \"person\" { required = true },\n"
     "        text = text { required = true, max_length = 1000 },\n"
     "      },\n"
     "      indexes = { by_person = { fields = { \"person\" } } },\n"
     "    },\n"
     "  },\n"
     "\n"
     "  -- What can be asked for. access says who may call: \"public\", \"signed_in\", or a list of roles.\n"
     "  methods = {\n"
     "    [\"@WORD@.add\"] = {\n"
     "      summary = \"Keeps a note of one's own\",\n"
     "      access = \"signed_in\", writes = true,\n"
     "      params = { text = text { required = true, max_length = 1000 } },\n"
     "      -- ctx is who asks, and the time of the call; p are the params, checked already.\n"
     "      run = function(ctx, p)\n"
     "        if not ctx.person then ctx:refuse(\"no_person\") end\n"
     "        -- The audience decides who may read the record, everywhere and for ever.\n"
     "        return store.put(\"@WORD@_note\", {\n"
     "          data = { person = ctx.person, text = p.text },\n"
     "          audience = { \"person:\" .. ctx.person },\n"
     "        })\n"
     "      end,\n"
     "    },\n"
     "    [\"@WORD@.mine\"] = {\n"
     "      summary = \"The notes of the caller\",\n"
     "      access = \"signed_in\", params = {},\n"
     "      run = function(ctx)\n"
     "        return { items = store.list(\"@WORD@_note\", { index = \"by_person\", equals = { ctx.person }, "
     "limit = 100 }) }\n"
     "      end,\n"
     "    },\n"
     "  },\n"
     "\n"
     "  -- Run before the plugin is put in force, over an empty store. A plugin whose tests fail never "
     "serves.\n"
     "  tests = {\n"
     "    [\"a note is kept for its writer, and for nobody else\"] = function(t)\n"
     "      local anora = { person = \"p1\", roles = { \"student\" } }\n"
     "      local note = t:call(\"@WORD@.add\", { text = \"hello\" }, anora)\n"
     "      t:equal(note.audience, { \"person:p1\" })\n"
     "      t:equal(#t:call(\"@WORD@.mine\", {}, anora).items, 1)\n"
     "      t:equal(#t:call(\"@WORD@.mine\", {}, { person = \"p2\", roles = { \"student\" } }).items, 0)\n"
     "    end,\n"
     "  },\n"
     "}\n"},
    {"matcher", "matchers",
     "-- A matching rule says who is brought together with whom, and why.\n"
     "-- Try it: hamroh plugin test matchers/@ID@.lua\n"
     "-- What would change, on your own data: hamroh plugin try matchers/@ID@.lua --data DIR --institution "
     "ID\n"
     "return matcher {\n"
     "  id = \"@ID@\",\n"
     "  title = { en = \"Help with studies\", uz = \"Oʻqishda yordam\", [\"uz-Cyrl\"] = \"Ўқишда ёрдам\", ru "
     "= \"Помощь в учёбе\" },\n"
     "  form = \"successful-unsuccessful\", -- or passive-leader, peer-exchange, mutual-support\n"
     "\n"
     "  -- Who takes part. capacity: the field of a mentor that says how many mentees they take.\n"
     "  mentor = { where = { status = \"active\", year = at_least(2) }, capacity = \"mentoring.capacity\" "
     "},\n"
     "  mentee = { where = { status = \"active\", year = 1 } },\n"
     "\n"
     "  -- A pair that fails one of these is never made, and who is left without is told why.\n"
     "  must = { share \"languages\" },\n"
     "\n"
     "  -- The points are 10,000 in all: their sum is the score of a pair, the parts explain it.\n"
     "  prefer = {\n"
     "    complement(\"strengths\", \"needs\", { points = 6000 }),\n"
     "    shared(\"interests\", { points = 2500, full_at = 3 }),\n"
     "    equal(\"faculty\", { points = 1500 }),\n"
     "  },\n"
     "\n"
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
     "-- A kind of activity: something that people do together, with fields, stages and results of its own.\n"
     "-- Try it: hamroh plugin test activities/@ID@.lua\n"
     "return activity {\n"
     "  id = \"@ID@\",\n"
     "  title = { en = \"Reading circle\", uz = \"Kitobxonlar davrasi\", [\"uz-Cyrl\"] = \"Китобхонлар "
     "давраси\", ru = \"Читательский кружок\" },\n"
     "  icon = \"star\",\n"
     "\n"
     "  -- What is asked when somebody announces one. Each field is checked by its shape.\n"
     "  fields = {\n"
     "    place = text { required = true, max = 200 },\n"
     "    seats = integer { min = 1, max = 500, default = 20 },\n"
     "  },\n"
     "\n"
     "  -- It goes from one stage to the next; people take part in a role. sees = \"all\": this role sees "
     "every entry.\n"
     "  stages = { \"announced\", \"held\", \"closed\" },\n"
     "  roles = { participant = {}, organiser = { sees = \"all\" } },\n"
     "\n"
     "  -- What came of it, from the entries of those who took part.\n"
     "  outcome = function(_, _, entries) return { people = #entries } end,\n"
     "\n"
     "  tests = {\n"
     "    [\"the outcome counts who took part\"] = function(t)\n"
     "      t:equal(plugins.get(\"activity\", \"@ID@\").outcome(t.ctx, {}, { {}, {} }).people, 2)\n"
     "    end,\n"
     "  },\n"
     "}\n"},
    {"questionnaire", "questionnaires",
     "-- A questionnaire: what is asked, how answers become scores, and what the scores mean.\n"
     "-- Try it:         hamroh plugin test questionnaires/@ID@.lua\n"
     "-- With answers:   hamroh plugin try questionnaires/@ID@.lua --answers '{\"q1\":4,\"q2\":2}' --data "
     "DIR --institution ID\n"
     "return questionnaire {\n"
     "  id = \"@ID@\",\n"
     "  title = { en = \"Finding one's way\", uz = \"Yangi joyga koʻnikish\", [\"uz-Cyrl\"] = \"Янги жойга "
     "кўникиш\", ru = \"Как вам на новом месте\" },\n"
     "  source = \"Own items. Of an instrument, say here where it is from, and its licence.\",\n"
     "  -- Who may read a result: \"self\" is who answered. With sensitive = true the scores are sealed, "
     "too.\n"
     "  audience = { \"self\", \"role:coordinator\" },\n"
     "  minutes = 1,\n"
     "\n"
     "  -- agree5: from 1, strongly disagree, to 5, strongly agree. key: the scale that an item counts for; "
     "reverse: the other way round.\n"
     "  items = {\n"
     "    likert { \"q1\", {\n"
     "      en = \"I know whom to ask.\", uz = \"Kimdan soʻrashni bilaman.\", [\"uz-Cyrl\"] = \"Кимдан "
     "сўрашни биламан.\", ru = \"Я знаю, у кого спросить.\",\n"
     "    }, scale = agree5, key = \"help\" },\n"
     "    likert { \"q2\", {\n"
     "      en = \"I feel lost here.\", uz = \"Bu yerda oʻzimni yoʻqotib qoʻygandayman.\",\n"
     "      [\"uz-Cyrl\"] = \"Бу ерда ўзимни йўқотиб қўйгандайман.\", ru = \"Я чувствую себя здесь "
     "потерянно.\",\n"
     "    }, scale = agree5, key = \"help\", reverse = true },\n"
     "  },\n"
     "\n"
     "  -- The mean of the items that were answered, when at least half of them were.\n"
     "  scales = { help = mean { min_answered = 0.5 } },\n"
     "  -- Below 3 is \"low\", all else \"good\".\n"
     "  bands = { help = { { \"low\", below = 3 }, { \"good\" } } },\n"
     "\n"
     "  -- What the student reads at the end. Kind words, in four languages.\n"
     "  result = function()\n"
     "    return {\n"
     "      en = \"Thank you. Your mentor will be glad to show you around.\",\n"
     "      uz = \"Rahmat. Mentoringiz sizga hammasini koʻrsatishdan xursand boʻladi.\",\n"
     "      [\"uz-Cyrl\"] = \"Раҳмат. Менторингиз сизга ҳаммасини кўрсатишдан хурсанд бўлади.\",\n"
     "      ru = \"Спасибо. Ваш наставник с радостью всё вам покажет.\",\n"
     "    }\n"
     "  end,\n"
     "\n"
     "  tests = {\n"
     "    [\"a reversed item counts the other way\"] = scored { answers = { q1 = 5, q2 = 1 }, gives = { help "
     "= 5 } },\n"
     "  },\n"
     "}\n"},
    {"report", "reports",
     "-- A report: figures, with what they mean in words. It reads, and writes nothing.\n"
     "-- Try it:     hamroh plugin test reports/@ID@.lua\n"
     "-- On your data: hamroh plugin try reports/@ID@.lua --params '{}' --data DIR --institution ID\n"
     "return report {\n"
     "  id = \"@ID@\",\n"
     "  title = { en = \"Pairs of a programme\", uz = \"Dastur juftliklari\", [\"uz-Cyrl\"] = \"Дастур "
     "жуфтликлари\", ru = \"Пары программы\" },\n"
     "\n"
     "  -- What may be chosen before it runs.\n"
     "  params = { programme = ref \"programme\" },\n"
     "\n"
     "  -- Counting by an index looks at no record twice; `equals` gives the leading fields of the index.\n"
     "  run = function(_, p)\n"
     "    local options = p.programme and { index = \"by_programme\", equals = { p.programme } } or {}\n"
     "    return { programme = p.programme, pairs = store.count(\"pair\", options) }\n"
     "  end,\n"
     "\n"
     "  tests = {\n"
     "    [\"an empty institution has no pairs\"] = function(t)\n"
     "      t:equal(plugins.get(\"report\", \"@ID@\").run(t.ctx, {}).pairs, 0)\n"
     "    end,\n"
     "  },\n"
     "}\n"},
};
// clang-format on

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
    if ((mkdir(dir, 0755) != 0 && errno != EEXIST) || (mkdir(path->data, 0755) != 0 && errno != EEXIST)) {
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
