// The host in this process, without a store: what plugins may call, the constructors, scoring, and the
// editor's annotations.
#include "script/host.h"
#include "script/kinds.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define S(text) hm_str_of(text)
#define PLUGINS HAMROH_SOURCE_DIR "/plugins"

static struct hm_host *host_new(void) {
    struct hm_error err = {0};
    struct hm_host *host = hm_alloc(sizeof *host);
    host->zone_minutes = 300;
    host->limits = (struct hm_limits){
        .cpu_ms = 2000, .memory_bytes = 256u << 20, .output_bytes = 4u << 20, .log_lines = 100};
    snprintf(host->institution, sizeof host->institution, "school");
    if (!hm_sandbox_start(&err)) fail_msg("%s", err.message);
    if (!hm_sources_read_shipped(&host->sources, PLUGINS, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < host->sources.count;) { // the shared modules only
        struct hm_source *s = &host->sources.list[i];
        if (strcmp(s->kind, "lib") == 0) {
            i++;
            continue;
        }
        free(s->text);
        memmove(s, s + 1, (host->sources.count - i - 1) * sizeof *s);
        host->sources.count--;
    }
    return host;
}

static struct hm_host *host_with(const char *kind, const char *text) {
    struct hm_host *host = host_new();
    char file[80];
    snprintf(file, sizeof file, "%s/x.lua", hm_kind_folder(kind));
    hm_sources_add(&host->sources, kind, "", file, "shipped", S(text))->candidate = true;
    return host;
}

static void tests_pass(const char *kind, const char *text) {
    struct hm_host *host = host_with(kind, text);
    if (!hm_host_load(host) || !hm_host_test(host, false, NULL, NULL)) fail_msg("%s", host->problems.data);
    hm_host_free(host);
}

static void refused(const char *kind, const char *text, const char *says) {
    struct hm_host *host = host_with(kind, text);
    if (hm_host_load(host)) fail_msg("is taken: %s", text);
    if (!strstr(host->problems.data, says)) fail_msg("\"%s\" is not in: %s", says, host->problems.data);
    hm_host_free(host);
}

static void text_is_folded_picked_split_and_read(void **state) {
    (void)state;
    tests_pass("service", "return service { id = 'x', tests = { ['text'] = function(t)\n"
                          "  t:equal(text.fold('  OʻKTAM   G’aniyev '), text.fold(\"o'ktam gʻaniyev\"))\n"
                          "  t:equal(text.trim(' \\u{a0}a b\\t\\n'), 'a b')\n"
                          "  t:equal(text.split('a;b;;c', ';'), { 'a', 'b', '', 'c' })\n"
                          "  t:equal(#text.split('', ';'), 0)\n"
                          "  t:equal(text.length('oʻzbek'), 6)\n"
                          "  t:equal(text.pick({ en = 'a', ru = 'b' }, 'ru'), 'b')\n"
                          "  t:equal(text.pick({ en = 'a', ru = 'b' }, 'uz'), 'b')\n"
                          "  t:equal(text.pick('plain', 'uz'), 'plain')\n"
                          "  t:equal(text.match_date('01.09.2026'), '2026-09-01')\n"
                          "  t:equal(text.match_date(' 1/9/2026 '), '2026-09-01')\n"
                          "  t:equal(text.match_date('2024-02-29'), '2024-02-29')\n"
                          "  for _, no in ipairs { '29.02.2023', '31.04.2026', '13.13.2026', 'x', '', "
                          "'1.9.26' } do t:equal(text.match_date(no), nil, no) end\n"
                          "  local csv = text.csv('a;b\\n\"1;\\n\";2\\n')\n"
                          "  t:equal(csv.rows, { { line = 1, cells = { 'a', 'b' } }, { line = 2, cells = { "
                          "'1;\\n', '2' } } })\n"
                          "  t:fails(function() text.csv('a,b\\n\"1') end, 'csv')\n"
                          "end } }");
}

static void slots_are_hours_that_both_have_free(void **state) {
    (void)state;
    // t.ctx.now is Tuesday 2026-09-01 09:00 there.
    tests_pass(
        "service",
        "return service { id = 'x', tests = { ['calendar'] = function(t)\n"
        "  local now = t.ctx.now\n"
        "  t:equal(calendar.date(now), '2026-09-01')\n"
        "  t:equal(calendar.local_time(now), { year = 2026, month = 9, day = 1, hour = 9, minute = 0, "
        "weekday = 2, hour_of_week = 33 })\n"
        "  t:equal(calendar.at(2026, 9, 1, 9), now)\n"
        "  t:equal(calendar.date(calendar.at(2024, 2, 29)), '2024-02-29')\n"
        "  t:equal(calendar.date(-1), '1970-01-01')\n"
        "  local function iso(ms) local l = calendar.local_time(ms) return ('%s "
        "%02d:%02d'):format(calendar.date(ms), "
        "l.hour, l.minute) end\n"
        "  t:equal(calendar.parse('2026-09-01 09:00'), now)\n"
        "  t:equal(iso(calendar.parse('2024-02-29')), '2024-02-29 00:00')\n"
        "  for _, no in ipairs { '2023-02-29', '2026-13-01', '2026-09-01 24:00', '2026-9-1', 'x', "
        "'2026-09-01 09:00:00', "
        "'2026-09-01x09:00' } do t:equal(calendar.parse(no), nil) end\n"
        "  t:equal(iso(calendar.day(now)), '2026-09-01 00:00')\n"
        "  t:equal(iso(calendar.week(now)), '2026-08-31 00:00')\n"
        "  t:equal(iso(calendar.week(calendar.week(now))), '2026-08-31 00:00')\n"
        "  t:equal(iso(calendar.month(now)), '2026-09-01 00:00')\n"
        "  t:equal(calendar.days_between(now, calendar.parse('2026-09-02')), 1)\n"
        "  t:equal(calendar.days_between(now, now - 9 * 3600000 - 1), -1)\n"
        "  t:equal(iso(calendar.add(now, { months = 1, days = 2, hours = -1 })), '2026-10-03 08:00')\n"
        "  t:equal(iso(calendar.add(calendar.parse('2026-01-31'), { months = 1 })), '2026-02-28 00:00')\n"
        "  t:equal(iso(calendar.add(calendar.parse('2024-02-29'), { years = 1, weeks = 1 })), '2025-03-07 "
        "00:00')\n"
        "  t:equal(iso(calendar.add(calendar.parse('2026-01-15'), { months = -13 })), '2024-12-15 00:00')\n"
        "  t:fails(function() calendar.add(now, { fortnights = 1 }) end, 'knows years')\n"
        "  t:equal(iso(calendar.next('0 8 * * mon-fri', now)), '2026-09-02 08:00')\n"
        "  t:fails(function() calendar.next('0 8 * *', now) end, 'five fields')\n"
        "  t:equal(calendar.common({ 1, 2, 3 }, { 2, 3, 4 }), { 2, 3 })\n"
        "  t:equal(calendar.format(now, 'en'), '1 September 2026')\n"
        "  t:equal(calendar.format(now, 'en', 'datetime'), '1 September 2026, 09:00')\n"
        "  t:equal(calendar.format(now, 'ru', 'day'), 'вторник, 1 сентября 2026 г.')\n"
        "  t:equal(calendar.format(now, 'uz'), '2026-yil 1-sentabr')\n"
        "  t:equal(calendar.format(now, 'uz-Cyrl', 'day'), 'сешанба, 2026 йил 1 сентябрь')\n"
        "  t:equal(calendar.format(now, 'uz', 'weekday'), 'seshanba')\n"
        "  t:equal(text.tidy(\"  O'ktam   G’aniyev  ma'no \"), 'Oʻktam Gʻaniyev maʼno')\n"
        "  t:equal(text.tidy(text.tidy(\"o`zbek 'x'\")), \"oʻzbek 'xʼ\")\n"
        "  t:equal(text.cut('Ўқиш ва', 5), 'Ўқиш…')\n"
        "  t:equal(text.cut('Ўқиш', 4), 'Ўқиш')\n"
        "  t:equal(text.join({ 'a', 'b', 'c' }, 'en'), 'a, b and c')\n"
        "  t:equal(text.join({ 'a' }, 'en') .. text.join({}, 'ru'), 'a')\n"
        "  t:equal(text.missing { uz = 'a', en = 'b' }, { 'uz-Cyrl', 'ru' })\n"
        "  t:equal(calendar.overlap({ 1, 2, 3 }, { 2, 3, 4 }), 2)\n"
        "  t:equal(calendar.weekend { 119, 120, 167 }, { 120, 167 })\n"
        "  local h = 3600000\n"
        "  local slots = calendar.slots { a = { 34, 35, 36, 130 }, b = { 34, 36, 130 }, from = now + "
        "1, days = 7 }\n"
        "  t:equal(slots, { { starts = now + h, minutes = 60, weekend = false }, { starts = now + 3 * "
        "h, minutes = 60, weekend = false },\n"
        "    { starts = now + 97 * h, minutes = 60, weekend = true } })\n"
        "  t:equal(#calendar.slots { a = { 34, 36 }, from = now, days = 14 }, 4)\n"
        "  t:equal(#calendar.slots { a = { 34, 35 }, from = now, days = 7, minutes = 90 }, 1)\n"
        "  t:equal(#calendar.slots { a = { 34, 36 }, from = now, days = 7, busy = { { now + h, now + "
        "2 * h } } }, 1)\n"
        "  t:equal(#calendar.slots { a = { 34 }, from = now, days = 7, busy = { { now, now + h }, { "
        "now + 2 * h, now + 3 * h } } }, 1)\n"
        "  t:equal(#calendar.slots { a = { 167, 0 }, from = now, days = 7, minutes = 120 }, 1)\n"
        "  t:fails(function() calendar.slots { a = { 168 }, from = now } end, 'hour of the week')\n"
        "end } }");
}

static void a_test_gets_an_empty_store_and_may_be_anybody(void **state) {
    (void)state;
    tests_pass(
        "service",
        "return service { id = 'x', records = { club = { fields = { name = text { required = true } } } }, "
        "methods = {\n"
        "  ['club.join'] = { access = 'signed_in', writes = true, params = { club = ref 'club' { required = "
        "true } }, run = function(ctx, p)\n"
        "    local c = store.get('club', p.club) if not c then ctx:not_found() end\n"
        "    return store.patch('club', c.id, {}, { members = { 'person:' .. ctx.person } }) end },\n"
        "  ['club.say'] = { access = { 'student' }, run = function(ctx, p) ctx:require('club:' .. p.club) "
        "return ctx.person end },\n"
        "}, tests = { ['a club'] = function(t)\n"
        "  local c = store.put('club', { data = { name = 'Chess' } })\n"
        "  local me = { person = 'a', roles = { 'student' } }\n"
        "  t:fails(function() t:call('club.say', { club = c.id }, me) end, 'club:')\n"
        "  t:call('club.join', { club = c.id }, me)\n"
        "  t:equal(t:call('club.say', { club = c.id }, me), 'a')\n"
        "  t:fails(function() t:call('club.join', { club = 'none' }, me) end, 'not found')\n"
        "  t:fails(function() t:call('club.join', {}, me) end, 'required')\n"
        "  for i = 1, 40 do t:fails(function() t:call('club.join', {}, me) end) end\n"
        "  t:equal(store.count('club'), 1)\n"
        "end, ['nothing is left of another test'] = function(t) t:equal(store.count('club'), 0) end } }");
}

static void a_method_may_have_a_name_of_one_word(void **state) {
    (void)state;
    tests_pass("service",
               "return service { id = 'x', methods = {\n"
               "  get_data = { access = 'public', run = function() return { 'hello', 5 } end },\n"
               "}, tests = { ['one word'] = function(t) t:equal(t:call('get_data', {}), { 'hello', "
               "5 }) end } }");
}

static void declarations_say_what_is_wrong_with_them(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        {"service", "return service { id = 'X' }", "id: must be a name of small letters"},
        {"service", "return service { id = 'x', metods = {} }",
         "metods: is not known here; did you mean 'methods'?"},
        {"service", "return service { id = 'x', records = { r = {} } }", "records.r.fields: is missing"},
        {"service", "return service { id = 'x', records = { r = { fields = { a = 1 } } } }",
         "records.r.fields.a: must be a shape"},
        {"service", "return service { id = 'x', records = { r = { fields = { a = text { maxx = 1 } } } } }",
         "text: the option 'maxx' is not known"},
        {"service",
         "return service { id = 'x', records = { r = { fields = { a = text {} }, sealed = { 'a' } } } }",
         "needs about"},
        {"service", "return service { id = 'x', methods = { Go = {} } }", "a method is named noun.verb"},
        {"service", "return service { id = 'x', methods = { ['a.b.c'] = {} } }", "a method is named"},
        {"service", "return service { id = 'x', methods = { ['a.'] = {} } }", "a method is named"},
        {"service", "return service { id = 'x', methods = { ['2go'] = {} } }", "a method is named"},
        {"service", "return service { id = 'x', methods = { ['a.b'] = { access = 'public' } } }",
         "methods.a.b.run: must be a function"},
        {"service",
         "return service { id = 'x', methods = { ['a.b'] = { access = { 'king' }, run = function() end } } }",
         "there is no role 'king'"},
        {"service", "return service { id = 'x', on = { ['pair.made'] = function() end } }", "type.created"},
        {"service", "return 1", "does not return a declaration"},
        {"service", "return {}", "id: must be a name"},
        {"service", "return service { id = 'x' } x = 1", "expected"},
        {"service", "x = 1 return service { id = 'x' }", "'x' would be a global"},
        {"service", "return activity { id = 'x' }", "the name 'activity' is not known here"},
        {"activity", "return activity { id = 'x', title = { en = 'X' }, stages = {} }",
         "stages: must be a list of stages"},
        {"matcher",
         "return matcher { id = 'x', title = { en = 'X' }, prefer = { equal('a', { points = 9000 }) } }",
         "9000 in all"},
        {"matcher", "return matcher { id = 'x', title = { en = 'X' }, must = { 'languages' } }",
         "must[1]: must be a criterion"},
        {"matcher",
         "return matcher { id = 'x', title = { en = 'X' }, prefer = { equal('a', { points = 10000.5 }) } }",
         "whole number"},
        {"questionnaire",
         "return questionnaire { id = 'x', title = { en = 'X' }, source = 's', items = { likert { 'a', { en "
         "= 'A' }, scale = agree5, key = 'k' } } }",
         "there is no scale 'k'"},
        {"questionnaire",
         "return questionnaire { id = 'x', title = { en = 'X' }, source = 's', items = { likert { 'a', { en "
         "= 'A' }, scale = agree5 }, "
         "likert { 'a', { en = 'A' }, scale = agree5 } } }",
         "comes twice"},
        {"questionnaire", "return questionnaire { id = 'x', title = { en = 'X' }, items = {} }",
         "source: must say where"},
        {"questionnaire",
         "return questionnaire { id = 'x', title = { en = 'X' }, source = 's', scales = { k = mean {} }, "
         "bands = { k = { { below = 3, 'a' }, "
         "{ below = 2, 'b' } } }, items = { likert { 'a', { en = 'A' }, scale = agree5, key = 'k' } } }",
         "bands.k[2].below: must grow"},
        {"report", "return report { id = 'x', title = { en = 'X' } }", "run: must be a function"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i][0], rows[i][1], rows[i][2]);
}

static void declarations_may_be_written_in_short(void **state) {
    (void)state;
    tests_pass("service", "return service { id = 'x', records = { r = { fields = { a = text, b = list(text "
                          "{}), c = choice { 'x', 'y', default = 'x' }, d = ref 'r',\n"
                          "  e = ref 'r' { required = true }, f = object { n = integer {} }, g = list { of = "
                          "object { fields = { n = integer { default = 7 } } } } } } },\n"
                          "  tests = { ['in short'] = function(t)\n"
                          "    local r = store.put('r', { data = { a = 'A', b = {}, e = 'id', f = { n = 1 }, "
                          "g = { {}, { n = 2 } } } })\n"
                          "    t:equal(r.data, { a = 'A', b = {}, c = 'x', e = 'id', f = { n = 1 }, g = { { "
                          "n = 7 }, { n = 2 } } })\n"
                          "    t:fails(function() store.put('r', { data = { e = 'id', g = { { n = 'x' } } } "
                          "}) end, 'r.g[0].n')\n"
                          "  end } }");
}

static void questionnaires_are_scored_as_published(void **state) {
    (void)state;
    tests_pass("questionnaire",
               "return questionnaire { id = 'x', title = { en = 'X' }, source = 's', scales = { k = mean { "
               "min_answered = 0.6 }, s = sum {} },\n"
               "  bands = { s = { { below = 3, 'low' }, { 'high' } } },\n"
               "  items = { likert { 'a', { en = 'A' }, scale = agree5, key = 'k' }, likert { 'b', { en = "
               "'B' }, scale = agree5, key = 'k', reverse = true },\n"
               "    likert { 'c', { en = 'C' }, scale = frequency4, key = 's' }, yes_no { 'd', { en = 'D' }, "
               "key = 's' },\n"
               "    choice_item { 'e', { en = 'E' }, options = { { 'p', { en = 'P' }, score = 2 }, { 'q', { "
               "en = 'Q' } } }, key = 's' }, number_item { 'f', { en = 'F' } } },\n"
               "  show_if = { e = function(a) return a.d == 'yes' end },\n"
               "  tests = { scored { answers = { a = 5, b = 1, c = 2, d = 'no' }, gives = { k = 5, s = 2 }, "
               "bands = { s = 'low' } },\n"
               "    scored { answers = { a = 5, b = 5, c = 3, d = 'yes', e = 'p' }, gives = { k = 3, s = 6 "
               "}, bands = { s = 'high' } },\n"
               "    function(t) local out = require('lib.scoring').score(t.plugin, { a = 5 }) "
               "t:equal(out.scores, {}) t:equal(out.scales.k.answered, 1) end } }");
}

static const char rule[] =
    "return matcher { id = 'x', title = { en = 'X' }, must = { share 'languages', respects "
    "'gender_preference', overlap('availability', { hours = 2 }),\n"
    "    not_in 'blocked', equal_to 'city' },\n"
    "  mentee = { priority = 'waited' }, fairness = { floor = 'highest' },\n"
    "  prefer = { complement('strengths', 'needs', { points = 3000, full_at = 2 }), shared('interests', { "
    "points = 1500, full_at = 3 }),\n"
    "    near('year', { within = 2, points = 1000 }), equal('faculty', { points = 1500 }), "
    "weekend('availability', { points = 1000 }),\n"
    "    higher('gpa', { points = 1000, full_at = 2 }), gap('age', { points = 1000, full_at = 4 }) },\n"
    "  tests = {\n"
    "    ['points are those that the criteria say'] = function(t)\n"
    "      local out = match.judge(t.plugin,\n"
    "        { id = 'a', data = { needs = { 'x', 'y' }, interests = { 'p', 'q' }, year = 1, faculty = 'F', "
    "availability = { 1, 130, 131 }, gpa = 2.5, age = 18 } },\n"
    "        { id = 'b', data = { strengths = { 'y', 'z' }, interests = { 'q', 'p', 'r' }, year = 2, faculty "
    "= 'F', availability = { 130, 131, 1 }, gpa = 4, age = 20 } })\n"
    "      t:equal(out, { may = true, points = 1500 + 1000 + 666 + 1500 + 500 + 750 + 500, parts = { 1500, "
    "1000, 666, 1500, 500, 750, 500 } })\n"
    "      t:equal(match.judge(t.plugin, { id = 'a', data = {} }, { id = 'b', data = {} }), { may = true, "
    "points = 0, parts = { 0, 0, 0, 0, 0, 0, 0 } })\n"
    "    end,\n"
    "    ['what must hold is named when it does not'] = function(t)\n"
    "      local function why(a, b) return match.judge(t.plugin, { id = 'a', data = a }, { id = 'b', data = "
    "b }).why end\n"
    "      t:equal(why({ languages = { 'uz' } }, { languages = { 'ru' } }), 'share')\n"
    "      t:equal(why({ gender = 'f', gender_preference = 'same' }, { gender = 'm' }), 'respects')\n"
    "      t:equal(why({ gender = 'f' }, { gender = 'm', gender_preference = 'same' }), 'respects')\n"
    "      t:equal(why({ gender = 'f', gender_preference = 'any' }, { gender = 'm', gender_preference = "
    "'any' }), nil)\n"
    "      t:equal(why({ availability = { 1, 2 } }, { availability = { 2, 3 } }), 'overlap')\n"
    "      t:equal(why({ blocked = { 'b' } }, {}), 'not_in')\n"
    "      t:equal(why({}, { blocked = { 'c', 'a' } }), 'not_in')\n"
    "      t:equal(why({ city = 'T' }, { city = 'S' }), 'equal_to')\n"
    "      t:equal(match.judge(t.plugin, { id = 'a', data = {} }, { id = 'a', data = {} }).why, 'self')\n"
    "    end,\n"
    "    ['columns in C score as the same rule in Lua, and the assignment is the best there is'] = "
    "function(t)\n"
    "      local pairing = require 'lib.pairing'\n"
    "      local function some(list, n) for i = 1, n do local k = i - 1 + t.ctx:random(#list - i + 1) "
    "list[i], list[k] = list[k], list[i] end return { table.unpack(list, 1, n) } end\n"
    "      local function person(side, i) local hours = {} for k = 1, t.ctx:random(12) do hours[k] = "
    "t.ctx:random(168) - 1 end\n"
    "        return { id = side .. i, free = t.ctx:random(3) - 1, data = { languages = some({ 'uz', 'ru', "
    "'en' }, t.ctx:random(2)), gender = some({ 'f', 'm' }, 1)[1],\n"
    "          gender_preference = some({ 'any', 'any', 'same' }, 1)[1], availability = hours, strengths = "
    "some({ 'a', 'b', 'c', 'd' }, 2), needs = some({ 'a', 'b', 'c', 'd' }, 2),\n"
    "          interests = some({ 'p', 'q', 'r', 's', 't' }, 3), year = t.ctx:random(4), faculty = some({ "
    "'F', 'G' }, 1)[1], gpa = t.ctx:random() * 5, age = 17 + t.ctx:random(6),\n"
    "          blocked = { 'M' .. t.ctx:random(30), 'E' .. t.ctx:random(30) }, waited = t.ctx:random(3) - 1 "
    "} } end\n"
    "      for round = 1, 5 do\n"
    "        local mentees, mentors = {}, {}\n"
    "        for i = 1, 30 do mentees[i], mentors[i] = person('E', i), person('M', i) end\n"
    "        mentees[5].id = 'M7'\n"
    "        for _, e in ipairs(mentees) do for _, m in ipairs(mentors) do\n"
    "          local c, lua = match.judge(t.plugin, e, m), pairing.judge(t.plugin, e, m)\n"
    "          t:equal({ c.may, c.why, c.points, c.parts }, { lua.may, lua.why, lua.points, lua.parts })\n"
    "        end end\n"
    "        local got, other = match.assign(t.plugin, mentees, mentors), pairing.solve(t.plugin, mentees, "
    "mentors)\n"
    "        t:ok(got.certified)\n"
    "        t:equal(got.matched, #other.pairs)\n"
    "        t:equal(#got.unmatched, #other.unmatched)\n"
    "        local held, sum, worst = {}, 0, 10000\n"
    "        for _, p in ipairs(got.pairs) do\n"
    "          held[p.mentor] = (held[p.mentor] or 0) + 1\n"
    "          t:ok(held[p.mentor] <= mentors[p.mentor].free)\n"
    "          t:equal(p.points, match.judge(t.plugin, mentees[p.mentee], mentors[p.mentor]).points)\n"
    "          worst = math.min(worst, p.points)\n"
    "        end\n"
    "        if got.matched > 0 then t:equal(got.worst, worst) end\n"
    "        for _, p in ipairs(other.pairs) do worst = math.min(worst, p.points) end\n"
    "        t:ok(got.matched == 0 or got.worst >= worst)\n"
    "        for _, u in ipairs(got.unmatched) do if u.fits > 0 then t:equal(u.why, 'full') end end\n"
    "      end\n"
    "    end,\n"
    "    ['a pair that stands already keeps its place'] = function(t)\n"
    "      local e = { { id = 'e1', data = { faculty = 'F' } }, { id = 'e2', data = {} } }\n"
    "      local m = { { id = 'm1', data = { faculty = 'F' }, free = 1 } }\n"
    "      t:equal(match.assign(t.plugin, e, m).pairs, { { mentee = 1, mentor = 1, points = 1500 } })\n"
    "      t:equal(match.assign(t.plugin, e, m, { fixed = { { 2, 1 } } }).pairs, { { mentee = 2, mentor = 1, "
    "points = 0 } })\n"
    "      t:equal(match.score(t.plugin, e, m), { { { mentor = 1, points = 1500, parts = { 0, 0, 0, 1500, 0, "
    "0, 0 } } }, { { mentor = 1, points = 0, parts = { 0, 0, 0, 0, 0, 0, 0 } } } })\n"
    "      t:fails(function() match.solve { rows = { { { 2, 1 } } }, seats = { 1 } } end, 'rows[1][1]')\n"
    "      local got = match.solve { rows = { { { 1, 5 } }, { { 1, 9 } } }, seats = { 1 } }\n"
    "      t:equal({ got[1], got[2], got.total, got.certified }, { 0, 1, 9, true })\n"
    "    end,\n"
    "  } }";

static void a_rule_scores_and_solves_as_it_says(void **state) {
    (void)state;
    tests_pass("matcher", rule);
}

static void figures_say_why_they_are_not_there(void **state) {
    (void)state;
    tests_pass("report",
               "return report { id = 'x', title = { en = 'X' }, run = function() end, tests = { ['figures'] "
               "= function(t)\n"
               "  local p = stats.paired({ 1, 2, 3, 4 }, { 2, 3, 5, 5 })\n"
               "  t:equal({ p.n, p.before.mean, p.after.mean, p.change.mean }, { 4, 2.5, 3.75, 1.25 })\n"
               "  t:ok(p.change.low < 1.25 and p.change.high > 1.25 and p.d_av and p.t)\n"
               "  t:equal(stats.describe({ 5 }).sd, nil)\n"
               "  t:ok(stats.describe({ 5 }).why_not.sd)\n"
               "  t:equal(stats.welch({ 1, 2, 3 }, { 1, 2, 3 }).mean, 0)\n"
               "  local alpha, why = stats.alpha { { 1, 2 }, { 2, 3 }, { 3, 4 }, { 1, 2 } }\n"
               "  t:equal(alpha, 1)\n"
               "  alpha, why = stats.alpha {}\n"
               "  t:ok(alpha == nil and why)\n"
               "  t:equal(stats.reliable_change(10, 15, 5, 0.8), 5 / math.sqrt(2 * 25 * 0.2))\n"
               "  t:fails(function() stats.paired({ 1 }, { 1, 2 }) end, 'not the same people')\n"
               "  t:fails(function() stats.describe { 1, 'x' } end, 'element 2')\n"
               "end } }");
}

// ---- the scoring cases that are shared between implementations ---------------------------------

static const char scorer[] =
    "return service { id = 'x', methods = { ['x.score'] = { access = 'public', run = function(ctx, p)\n"
    "  local form = { items = {}, scales = {} }\n"
    "  for i, it in ipairs(p.form.items) do\n"
    "    form.items[i] = { type = 'likert', id = it.id, key = it.scale, reverse = it.reverse == 1, scale = { "
    "min = p.form.min, max = p.form.max } }\n"
    "    form.scales[it.scale] = { method = p.form.score, min_answered = p.case.min_fraction }\n"
    "  end\n"
    "  local out, faults = require('lib.scoring').score(form, p.case.answers), {}\n"
    "  for key, want in pairs(p.case.expected) do\n"
    "    local got = out.scales[key]\n"
    "    for name, value in pairs(want) do\n"
    "      if type(value) == 'number' and math.abs((got[name] or 1e9) - value) > 1e-9 or type(value) == "
    "'boolean' and got[name] ~= value then\n"
    "        faults[#faults + 1] = key .. '.' .. name .. ' is ' .. tostring(got[name]) .. ', not ' .. "
    "tostring(value)\n"
    "      end\n"
    "    end\n"
    "    if want.mean == nil and out.scores[key] then faults[#faults + 1] = key .. ' has a score' end\n"
    "  end\n"
    "  return table.concat(faults, '; ')\n"
    "end } } }";

static bool read_shared(const char *name, struct hm_buf *out) {
    char path[600];
    const char *dir = getenv("HAMROH_SHARED_DATA");
    snprintf(path, sizeof path, "%s/%s", dir ? dir : HAMROH_SOURCE_DIR "/../shared/data", name);
    return hm_read_file(path, 8u << 20, out, NULL);
}

static void shared_scoring_cases_hold(void **state) {
    (void)state;
    struct hm_buf cases_text = {0}, forms_text = {0}, params = {0};
    struct hm_json all, forms, cases = {0}, item, form = {0};
    unsigned count = 0;
    if (!read_shared("scoring_cases.json", &cases_text) || !read_shared("instruments.json", &forms_text)) {
        print_message("no ../shared/data: skipped\n");
        hm_buf_free(&cases_text);
        skip();
    }
    assert_true(hm_json_parse(hm_buf_view(&cases_text), &all, NULL) && hm_json_get(all, "cases", &cases));
    assert_true(hm_json_parse(hm_buf_view(&forms_text), &forms, NULL));
    struct hm_host *host = host_with("service", scorer);
    if (!hm_host_load(host)) fail_msg("%s", host->problems.data);
    struct hm_json_iter it = hm_json_iter(cases);
    while (hm_json_next(&it, NULL, &item)) {
        char name[64];
        assert_true(hm_json_get_text(item, "instrument", name, sizeof name));
        assert_true(hm_json_get(forms, name, &form));
        hm_buf_clear(&params);
        hm_buf_printf(&params, "{\"form\":%.*s,\"case\":%.*s}", (int)form.raw.len, form.raw.ptr,
                      (int)item.raw.len, item.raw.ptr);
        struct hm_call_args args = {
            .method = S("x.score"), .params = hm_buf_view(&params), .limits = host->limits};
        if (!hm_call_run(host, &args)) fail_msg("%s: %s", host->trouble.message, host->trouble.data.data);
        if (strcmp(host->out.data, "\"\"") != 0)
            fail_msg("%.*s: %s", (int)item.raw.len, item.raw.ptr, host->out.data);
        hm_call_end(host);
        count++;
    }
    assert_true(count > 50);
    hm_host_free(host);
    hm_buf_free(&cases_text);
    hm_buf_free(&forms_text);
    hm_buf_free(&params);
}

// ---- what the editor knows ---------------------------------------------------------------------

static void the_editors_annotations_are_those_of_this_host(void **state) {
    (void)state;
    char dir[] = "/tmp/hamroh-meta-XXXXXX", command[300], file[64];
    struct hm_error err = {0};
    assert_non_null(mkdtemp(dir));
    if (!hm_meta_write(dir, &err)) fail_msg("%s", err.message);
    snprintf(command, sizeof command, "diff -r -x README.md '%s' '" PLUGINS "/meta'", dir);
    int different = system(command);
    snprintf(file, sizeof file, "%s/reference", dir);
    if (!hm_reference_write(file, &err)) fail_msg("%s", err.message);
    snprintf(command, sizeof command, "diff '%s' '" PLUGINS "/reference.md'", file);
    different = system(command) || different;
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    if (different) fail_msg("run: hamroh worker --meta plugins/meta");
}

// What an editor completes from is the same.
static void the_api_as_json_names_every_function_and_constructor(void **state) {
    (void)state;
    struct hm_buf out = {0};
    struct hm_json json, modules;
    struct hm_error err = {0};
    char quoted[80];
    hm_api_json(&out);
    if (!hm_json_parse(hm_buf_view(&out), &json, &err)) fail_msg("%s", err.message);
    assert_true(hm_json_get(json, "modules", &modules) && hm_json_count(modules) > 8);
    for (size_t i = 0; hm_modules[i]; i++)
        for (const struct hm_lua_fn *f = hm_modules[i]->fns; f->name; f++) {
            snprintf(quoted, sizeof quoted, "{\"name\":\"%s\",\"%s\":", f->name,
                     f->fn ? "signature" : "type");
            if (!strstr(out.data, quoted)) fail_msg("%s is missing", quoted);
            if (!f->doc || !f->doc[0] || !f->signature)
                fail_msg("%s.%s says nothing", hm_modules[i]->name, f->name);
        }
    assert_non_null(strstr(out.data, "{\"kind\":\"matcher\""));
    assert_non_null(strstr(out.data, "{\"name\":\"Change\""));
    hm_buf_free(&out);
}

// Every constructor in Lua has a row, and every row a constructor.
static void constructors_are_those_that_are_described(void **state) {
    (void)state;
    struct hm_host *host = host_new();
    if (!hm_host_load(host)) fail_msg("%s", host->problems.data);
    lua_State *L = host->box.L;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    for (size_t i = 0; hm_constructor_groups[i].kind; i++) {
        const struct hm_constructors *g = &hm_constructor_groups[i];
        unsigned rows = 0, made = 0;
        assert_int_equal(lua_getfield(L, 1, g->kind), LUA_TTABLE);
        for (const struct hm_lua_fn *f = g->rows; f->name; f++, rows++) {
            if (lua_getfield(L, 2, f->name) == LUA_TNIL) fail_msg("%s: there is no %s", g->kind, f->name);
            lua_pop(L, 1);
        }
        for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1))
            made += lua_tostring(L, -2)[0] != '_';
        if (rows != made) fail_msg("%s: %u rows, %u constructors", g->kind, rows, made);
        lua_pop(L, 1);
    }
    hm_host_free(host);
}

static void signatures_can_be_taken_apart(void **state) {
    (void)state;
    for (size_t i = 0; hm_modules[i]; i++)
        for (const struct hm_lua_fn *f = hm_modules[i]->fns; f->name; f++) {
            if (!f->doc || !f->doc[0]) fail_msg("%s.%s has no words", hm_modules[i]->name, f->name);
            if (f->fn && strchr(f->signature, '\n')) fail_msg("%s.%s", hm_modules[i]->name, f->name);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_folded_picked_split_and_read),
        cmocka_unit_test(slots_are_hours_that_both_have_free),
        cmocka_unit_test(a_test_gets_an_empty_store_and_may_be_anybody),
        cmocka_unit_test(a_method_may_have_a_name_of_one_word),
        cmocka_unit_test(declarations_say_what_is_wrong_with_them),
        cmocka_unit_test(declarations_may_be_written_in_short),
        cmocka_unit_test(questionnaires_are_scored_as_published),
        cmocka_unit_test(a_rule_scores_and_solves_as_it_says),
        cmocka_unit_test(figures_say_why_they_are_not_there),
        cmocka_unit_test(shared_scoring_cases_hold),
        cmocka_unit_test(the_editors_annotations_are_those_of_this_host),
        cmocka_unit_test(the_api_as_json_names_every_function_and_constructor),
        cmocka_unit_test(constructors_are_those_that_are_described),
        cmocka_unit_test(signatures_can_be_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
