// The worker process: calls, what they read and write, rights, jobs, loading and refusing.
#include "script_fixture.h"

// The types of tester.lua, as the server would have put them in force.
#define TYPES                                                                                                \
    "[{\"name\":\"note\",\"key\":\"natural\",\"indexes\":[{\"name\":\"by_rank\",\"fields\":[\"rank\"]},{"    \
    "\"name\":\"by_tag\","                                                                                   \
    "\"fields\":[\"tags\"],\"multi\":true},{\"name\":\"by_code\",\"fields\":[\"code\"],\"unique\":true}]},"  \
    "{\"name\":\"result\",\"key\":\"uuid\",\"about\":\"person\",\"sealed\":[\"answers\"],\"indexes\":[]},{"  \
    "\"name\":\"many\",\"key\":\"natural\"}]"

static const char tester[] =
    "local function ids(iter) local out = {} for r in iter do out[#out + 1] = r.id end return "
    "table.concat(out, ' ') end\n"
    "local note = { rank = integer {}, tags = list { of = text {} }, code = text {}, title = text { max = 20 "
    "}, state = choice {\n"
    "  values = { 'open', 'done' }, default = 'open' }, at = time {}, day = date {}, inner = object { fields "
    "= { n = number { min = 0 } } } }\n"
    "return service {\n"
    "  id = 'tester', title = { en = 'Tester' },\n"
    "  records = {\n"
    "    note = { key = 'natural', fields = note, indexes = { by_rank = { fields = { 'rank' } }, by_tag = { "
    "fields = { 'tags' }, multi = true },\n"
    "      by_code = { fields = { 'code' }, unique = true } } },\n"
    "    result = { about = 'person', sealed = { 'answers' }, fields = { person = ref 'person' { required = "
    "true }, answers = any {}, n = integer {} } },\n"
    "    many = { key = 'natural', fields = { n = integer {} } },\n"
    "  },\n"
    "  methods = {\n"
    "    ['note.put'] = { summary = 'Puts', access = { 'coordinator' }, writes = true, params = { id = text "
    "{ required = true }, data = any {}, audience = list { of = text {} } },\n"
    "      run = function(ctx, p) return store.put('note', p) end },\n"
    "    ['note.typed'] = { access = 'signed_in', params = note, run = function(ctx, p) return p end },\n"
    "    ['note.public'] = { access = 'public', run = function(ctx, p) return { person = ctx.person, now = "
    "ctx.now, roles = ctx.roles, institution = ctx.institution, locale = ctx.locale, p = p } end },\n"
    "    ['note.mine'] = { access = 'signed_in', run = function(ctx, p) ctx:require('pair:p1', 'coach') "
    "return 'in' end },\n"
    "    ['note.sees'] = { access = 'signed_in', run = function(ctx, p) return ctx:can_see(store.get('note', "
    "p.id)) end },\n"
    "    ['note.run'] = { access = 'signed_in', writes = true, run = function(ctx, p) return { out = "
    "(RUN[p.what])(ctx, p) } end },\n"
    "    ['note.reads'] = { access = 'signed_in', run = function(ctx, p) return store.put('note', { id = "
    "'x', data = {} }) end },\n"
    "    ['note.job'] = { access = 'signed_in', job = true, run = function(ctx, p) ctx:progress(0.5, 'half') "
    "if p.write then store.put('note', { id = 'x', data = {} }) end return { n = 2 } end,\n"
    "      done = function(ctx, p, result) store.put('note', { id = 'job' .. result.n, data = { title = "
    "p.title } }) return result.n end },\n"
    "  },\n"
    "  on = { ['note.created'] = function(ctx, change) store.patch('note', change.id, { title = 'seen ' .. "
    "change.action }) end },\n"
    "  every = { ['0 8 * * *'] = function(ctx) return 'morning' end },\n"
    "}\n";

// The functions that note.run chooses from, put in front of the service.
static const char table[] =
    "local RUN = {}\n"
    "function RUN.order(ctx, p)\n"
    "  store.put('note', { id = 'b2', data = { rank = 15 } })\n"
    "  store.patch('note', 'c', { rank = 5 })\n"
    "  store.delete('note', 'd')\n"
    "  return { up = ids(store.each('note', { index = 'by_rank', from = 0 })), down = ids(store.each('note', "
    "{ index = 'by_rank', order = 'desc', from = 0 })),\n"
    "    all = ids(store.each('note')), equal = ids(store.each('note', { index = 'by_rank', equals = 15 })), "
    "n = store.count('note'),\n"
    "    first = store.first('note', { index = 'by_rank', from = 6 }).id, list = #store.list('note', { limit "
    "= 2 }),\n"
    "    some = ids(store.each('note', { index = 'by_rank', from = 10, to = 20 })) }\n"
    "end\n"
    "function RUN.tags(ctx, p)\n"
    "  store.put('note', { id = 't1', data = { tags = { 'x', 'y' } } })\n"
    "  store.put('note', { id = 't2', data = { tags = { 'y' } } })\n"
    "  store.patch('note', 't2', { tags = { 'z' } })\n"
    "  return { x = ids(store.each('note', { index = 'by_tag', equals = 'x' })), y = ids(store.each('note', "
    "{ index = 'by_tag', equals = 'y' })),\n"
    "    z = ids(store.each('note', { index = 'by_tag', equals = 'z' })) }\n"
    "end\n"
    "function RUN.walk_and_write(ctx, p)\n"
    "  local n = 0\n"
    "  for r in store.each('note', { index = 'by_rank', from = 0 }) do n = n + 1 store.patch('note', r.id, { "
    "rank = r.data.rank + 1 }) end\n"
    "  for r in store.each('note', { index = 'by_rank', from = 0 }) do n = n + 1 store.patch('note', r.id, { "
    "rank = r.data.rank + 1 }) end\n"
    "  return n\n"
    "end\n"
    "function RUN.nothing_left(ctx, p) store.put('note', { id = 'n', data = {} }) store.delete('note', 'n') "
    "return store.get('note', 'n') == nil end\n"
    "function RUN.replace(ctx, p) store.delete('note', 'a') store.put('note', { id = 'a', data = { title = "
    "'new' } }) return 1 end\n"
    "function RUN.stop_early(ctx, p) for r in store.each('note', { index = 'by_rank', from = 0 }) do return "
    "r.id end end\n"
    "function RUN.get(ctx, p) local r = store.get('note', p.id) return r and r.data or store.null end\n"
    "function RUN.length(ctx, p) return #store.get('note', p.id).data.title end\n"
    "function RUN.patch(ctx, p) return store.patch('note', 'a', p.changes).data end\n"
    "function RUN.set(ctx, p) local r = store.get('note', 'a') r.data.title = 'set' r.version = r.version + "
    "(p.off or 0) return store.set(r).data.title end\n"
    "function RUN.many(ctx, p) local n = 0 for i = 1, 2500 do if store.get('many', 'k' .. i) then n = n + 1 "
    "end end return n end\n"
    "function RUN.same(ctx, p) return { ctx:random(), ctx:random(6), ctx:uuid(), ctx:uuid() } end\n"
    "function RUN.sealed(ctx, p)\n"
    "  local r = store.put('result', { data = { person = 's1', answers = { a = 1 } } })\n"
    "  local again = store.patch('result', r.id, { n = 5 })\n"
    "  again.data.n = 6\n"
    "  store.set(again)\n"
    "  return { hidden = r.data.answers, again = again.data.answers, clear = store.unseal(r, 'answers', 'to "
    "see') }\n"
    "end\n"
    "function RUN.unseal(ctx, p) return store.unseal(store.get('result', 'r1'), 'answers', p.why) end\n"
    "function RUN.invite(ctx, p) return { accounts.exists('s1'), accounts.invite { person = 's1', name = "
    "'Aziz', roles = p.roles }, accounts.exists('s9') } end\n"
    "function RUN.inner(ctx, p) return { ctx:call('note.public', { a = 1 }), ctx:call('note.put', { id = "
    "'in', data = {} }).id, ctx:call('note.job', { title = 'j' }) } end\n"
    "function RUN.forever(ctx, p) return ctx:call('note.run', { what = 'forever' }) end\n"
    "function RUN.log(ctx, p) for i = 1, 9 do log.info('line ' .. i) end log.warn('late') return 1 end\n"
    "function RUN.big(ctx, p) return string.rep('x', 2000000) end\n"
    "function RUN.bug(ctx, p)\n"
    "  local nothing\n"
    "  return nothing.field\n"
    "end\n"
    "function RUN.refuse(ctx, p) ctx:refuse('full', { places = 0 }) end\n"
    "function RUN.not_found(ctx, p) ctx:not_found() end\n"
    "function RUN.invalid(ctx, p) ctx:invalid('mentor', 'is away') end\n"
    "function RUN.raise_table(ctx, p) error({ code = -32002 }) end\n"
    "function RUN.hidden(ctx, p) return store.get('account', 'x') end\n"
    "function RUN.core(ctx, p) return store.put('audit', { id = 'x', data = {} }) end\n"
    "function RUN.plugins(ctx, p) local d = plugins.get('service', 'tester') return { d.id, d.kind, d.layer, "
    "#d.version, #plugins.all('service'), #plugins.all('matcher') } end\n"
    "function RUN.kept(ctx, p) if not KEPT.walk then KEPT.walk = store.each('note') end local r = "
    "KEPT.walk() return r and r.id or 'ended' end\n";

static void add_tester(struct sw *w) {
    struct hm_buf text = {0};
    hm_buf_text(&text, "local KEPT = {}\n");
    const char *rest = strchr(tester, '\n') + 1;
    hm_buf_add(&text, tester, (size_t)(rest - tester));
    hm_buf_text(&text, table);
    hm_buf_text(&text, rest);
    sw_write_file(w, "services/tester.lua", text.data);
    hm_buf_free(&text);
}

static void notes(struct sw *w) {
    fx_put(&w->f, "note", "a", "{\"rank\":10,\"title\":\"A\"}");
    fx_put(&w->f, "note", "b", "{\"rank\":20}");
    fx_put(&w->f, "note", "c", "{\"rank\":30}");
    fx_put(&w->f, "note", "d", "{\"rank\":40}");
}

static void ready(struct sw *w) {
    sw_prepare(w, TYPES);
    add_tester(w);
    notes(w);
    if (!sw_start(w, "")) fail_msg("refused: %s", w->data);
}

#define RUN(w, what) sw_call_as((w), "note.run", "{\"what\":\"" what "\"}", ADMIN, 0)
#define RUN_GIVES(w, what, result)                                                                           \
    sw_gives((w), "note.run", "{\"what\":\"" what "\"}", "{\"out\":" result "}")

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}
static void has_not(const char *text, const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" is in: %s", part, text);
}

static void a_worker_says_what_its_plugins_declare(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    struct hm_types *types = NULL;
    struct hm_json all, list;
    struct hm_error err = {0};
    assert_true(hm_json_parse(hm_buf_view(&w.catalogue), &all, &err));
    assert_true(hm_json_get(all, "types", &list));
    if (!hm_types_parse(list.raw, &types, &err)) fail_msg("%s", err.message);
    const struct hm_type *result = hm_types_find(types, S("result"));
    assert_non_null(result);
    assert_string_equal(result->sealed[0], "answers");
    assert_string_equal(result->about, "person");
    const struct hm_type *note = hm_types_find(types, S("note"));
    assert_true(hm_type_index(note, S("by_tag"))->multi && hm_type_index(note, S("by_code"))->unique);
    hm_types_unref(types);
    has(w.catalogue.data,
        "{\"name\":\"note.put\",\"plugin\":\"tester\",\"summary\":\"Puts\",\"params\":{\"type\":\"object\"");
    has(w.catalogue.data, "\"access\":\"role\",\"roles\":[\"coordinator\"],\"job\":false,\"writes\":true}");
    has(w.catalogue.data, "\"enum\":[\"open\",\"done\"]");
    has(w.catalogue.data, "\"reactions\":[{\"event\":\"note.created\",\"plugin\":\"tester\"}]");
    has(w.catalogue.data, "\"every\":[{\"cron\":\"0 8 * * *\",\"plugin\":\"tester\"}]");
    has(w.catalogue.data, "the text in ru is missing");
    sw_free(&w);
}

static void params_are_checked_all_at_once_and_defaults_filled_in(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    sw_gives(&w, "note.typed",
             "{\"rank\":3.0,\"tags\":[],\"idem\":\"k\",\"day\":\"2024-02-29\",\"inner\":{\"n\":1.5}}",
             "{\"day\":\"2024-02-29\",\"inner\":{\"n\":1.5},\"rank\":3,\"state\":\"open\",\"tags\":[]}");
    sw_fails(&w, "note.typed",
             "{\"rnk\":3,\"tags\":{},\"state\":\"no\",\"day\":\"2023-02-29\",\"inner\":{\"n\":-1,\"m\":2},"
             "\"at\":1.5}",
             HM_PARAMS, "");
    assert_string_equal(
        w.data, "{\"errors\":[{\"message\":\"must be a moment in milliseconds since 1970\",\"path\":\"at\"},"
                "{\"message\":\"must be a date such as 2026-09-01\",\"path\":\"day\"},"
                "{\"message\":\"is not known here; did you mean \\\"n\\\"?\",\"path\":\"inner.m\"},"
                "{\"message\":\"must be at least 0\",\"path\":\"inner.n\"},"
                "{\"message\":\"is not known here; did you mean \\\"rank\\\"?\",\"path\":\"rnk\"},"
                "{\"message\":\"must be one of \\\"open\\\", \\\"done\\\"\",\"path\":\"state\"}]}");
    sw_fails(&w, "note.typed", "[1]", HM_PARAMS, "must be an object");
    sw_fails(&w, "note.typed", "{\"title\":\"ўўўўўўўўўўўўўўўўўўўўў\"}", HM_PARAMS, "at most 20 characters");
    sw_gives(&w, "note.typed", "{\"title\":\"ўўўўўўўўўўўўўўўўўўўў\"}",
             "{\"state\":\"open\",\"title\":\"ўўўўўўўўўўўўўўўўўўўў\"}");
    sw_fails(&w, "note.none", "{}", HM_METHOD, "note.none");
    sw_free(&w);
}

static void rights_are_asked_for(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_false(sw_call_as(&w, "note.typed", "{}", "{\"person\":null}", 0));
    assert_int_equal(w.code, HM_UNAUTHENTICATED);
    assert_false(sw_call_as(&w, "note.put", "{\"id\":\"x\",\"data\":{}}", STUDENT, 0));
    assert_int_equal(w.code, HM_FORBIDDEN);
    assert_string_equal(w.data, "{\"need\":[\"coordinator\"]}");
    assert_true(sw_call_as(&w, "note.mine", "{}", STUDENT, 0)); // a member of pair:p1
    assert_false(sw_call_as(&w, "note.mine", "{}", ADMIN, 0));
    assert_string_equal(w.data, "{\"need\":[\"pair:p1\",\"coach\"]}");
    struct hm_buf many = {0}; // the last of very many memberships counts, too
    hm_buf_text(&many, "{\"person\":\"s2\",\"login\":\"s2\",\"roles\":[],\"principals\":[");
    for (int i = 0; i < 700; i++)
        hm_buf_printf(&many, "\"group:%d\",", i);
    hm_buf_text(&many, "\"pair:p1\"]}");
    assert_true(sw_call_as(&w, "note.mine", "{}", many.data, 0));
    hm_buf_free(&many);
    assert_true(sw_call_as(&w, "note.mine", "{}", "{\"local\":true}", 0));
    assert_true(sw_call_as(&w, "note.public", "{\"a\":1}", "{\"person\":null}", 0));
    assert_string_equal(
        w.result,
        "{\"institution\":\"school\",\"locale\":\"uz\",\"now\":1788238800000,\"p\":{\"a\":1},\"roles\":[]}");
    assert_true(sw_call_as(&w, "note.public", "[1,2]", STUDENT, 0));
    has(w.result, "\"p\":[1,2]");
    sw_free(&w);
}

static void who_may_see_a_record_is_its_audience(void **state) {
    (void)state;
    struct sw w;
    struct hm_buf audience = {0};
    sw_prepare(&w, TYPES);
    add_tester(&w);
    struct hm_intent in = fx_intent("note", "a", "{}");
    hm_packed_add(&audience, S("pair:p1"));
    in.audience = hm_buf_view(&audience);
    struct hm_commit call = fx_call(&w.f, &in, 1);
    assert_int_equal(fx_run(&w.f, &call), HM_OK);
    assert_true(sw_start(&w, ""));
    assert_true(sw_call_as(&w, "note.sees", "{\"id\":\"a\"}", STUDENT, 0));
    assert_string_equal(w.result, "true");
    sw_gives(&w, "note.sees", "{\"id\":\"a\"}", "false");
    hm_buf_free(&audience);
    sw_free(&w);
}

static void own_writes_stand_where_they_belong_among_what_is_stored(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    RUN_GIVES(
        &w, "order",
        "{\"all\":\"a b b2 c\",\"down\":\"b b2 a "
        "c\",\"equal\":\"b2\",\"first\":\"a\",\"list\":2,\"n\":4,\"some\":\"a b2\",\"up\":\"c a b2 b\"}");
    has(w.intents, "put note b2 0 {\"rank\":15,\"state\":\"open\"} [][]\n");
    has(w.intents, "put note c 3 {\"rank\":5,\"state\":\"open\"} [][]\n");
    has(w.intents, "del note d 4 ");
    RUN_GIVES(&w, "tags", "{\"x\":\"t1\",\"y\":\"t1\",\"z\":\"t2\"}");
    RUN_GIVES(&w, "walk_and_write", "8"); // each once, though all move ahead of the walk
    RUN_GIVES(&w, "nothing_left", "true");
    assert_string_equal(w.intents, "");
    RUN_GIVES(&w, "replace", "1");
    has(w.intents, "put note a 1 {\"state\":\"open\",\"title\":\"new\"}");
    sw_free(&w);
}

static void what_was_read_is_told(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    sw_gives(&w, "note.run", "{\"what\":\"get\",\"id\":\"a\"}", "{\"out\":{\"rank\":10,\"title\":\"A\"}}");
    assert_string_equal(w.seen, "point note a 1\n");
    sw_gives(&w, "note.run", "{\"what\":\"get\",\"id\":\"zz\"}", "{\"out\":null}");
    assert_string_equal(w.seen, "point note zz 0\n");
    RUN_GIVES(&w, "stop_early", "\"a\"");
    has(w.seen, "point note a 1\n");
    has(w.seen, "range 1 note|by_rank|");
    has(w.seen, "|a|\n"); // up to just behind a, not to the end of the index
    has_not(w.seen, "point note b");
    RUN_GIVES(&w, "many", "0");
    assert_string_equal(w.seen, "range 0 many| many\\01\n"); // past 2,000 points: the type
    sw_free(&w);
}

static void writes_meet_what_is_there(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    sw_fails(&w, "note.put", "{\"id\":\"a\",\"data\":{}}", HM_CONFLICT, "\"reason\":\"exists\"");
    sw_fails(&w, "note.put", "{\"id\":\"e\",\"data\":{\"titel\":1,\"rank\":\"x\"}}", HM_PARAMS, "note.titel");
    has(w.data, "\"path\":\"note.rank\"");
    sw_gives(&w, "note.put", "{\"id\":\"e\",\"data\":{\"title\":\"E\"},\"audience\":[\"role:coach\"]}",
             "{\"audience\":[\"role:coach\"],\"by\":\"boss\",\"created\":1788238800000,\"data\":{\"state\":"
             "\"open\",\"title\":\"E\"},"
             "\"id\":\"e\",\"members\":[],\"type\":\"note\",\"updated\":1788238800000,\"version\":0}");
    has(w.intents, "put note e 0 {\"state\":\"open\",\"title\":\"E\"} [\"role:coach\"][]\n");
    assert_string_equal(w.seen, "point note e 0\n");
    sw_gives(&w, "note.run", "{\"what\":\"set\"}", "{\"out\":\"set\"}");
    sw_fails(&w, "note.run", "{\"what\":\"set\",\"off\":1}", HM_CONFLICT, "version");
    sw_gives(&w, "note.run", "{\"what\":\"patch\",\"changes\":{\"title\":\"B\",\"tags\":[]}}",
             "{\"out\":{\"rank\":10,\"state\":\"open\",\"tags\":[],\"title\":\"B\"}}");
    sw_fails(&w, "note.reads", "{}", HM_PLUGIN, "writes=true");
    sw_fails(&w, "note.run", "{\"what\":\"hidden\"}", HM_PLUGIN, "there is no record type 'account'");
    sw_fails(&w, "note.run", "{\"what\":\"core\"}", HM_PLUGIN, "core's own");
    sw_free(&w);
}

static void a_try_tells_what_it_would_change_and_changes_nothing(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_true(sw_call_as(&w, "note.run", "{\"what\":\"replace\"}", ADMIN, HM_CALL_DRY));
    assert_string_equal(
        w.result,
        "{\"result\":{\"out\":1},\"changes\":[{\"action\":\"updated\",\"type\":\"note\",\"id\":\"a\","
        "\"data\":{\"state\":\"open\",\"title\":\"new\"}}]}");
    assert_string_equal(w.intents, "");
    sw_free(&w);
}

static void the_same_seed_gives_the_same_call(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_true(RUN(&w, "same"));
    char *first = strdup(w.result);
    assert_true(RUN(&w, "same"));
    assert_string_equal(w.result, first);
    free(first);
    sw_free(&w);
}

static void sealed_fields_are_not_given_out(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, TYPES);
    add_tester(&w);
    fx_put(&w.f, "result", "r1", "{\"person\":\"s1\",\"answers\":{\"a\":\"secret\"}}");
    assert_true(sw_start(&w, ""));
    RUN_GIVES(&w, "sealed", "{\"again\":{\"sealed\":true},\"clear\":{\"a\":1},\"hidden\":{\"sealed\":true}}");
    has(w.intents,
        "{\"answers\":{\"a\":1},\"n\":6,\"person\":\"s1\"}"); // what was written is not lost under the mark
    assert_int_equal(w.unseals, 0);
    sw_gives(&w, "note.run", "{\"what\":\"unseal\",\"why\":\"to help\"}", "{\"out\":{\"a\":\"secret\"}}");
    assert_int_equal(w.unseals, 1);
    sw_fails(&w, "note.run", "{\"what\":\"unseal\",\"why\":\"curious\"}", HM_UNAVAILABLE, "destroyed");
    sw_free(&w);
}

static void calls_that_wait_for_the_server_do_not_lose_others(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, TYPES);
    add_tester(&w);
    fx_put(&w.f, "result", "r1", "{\"person\":\"s1\",\"answers\":{\"a\":\"secret\"}}");
    assert_true(sw_start(&w, ""));
    sw_post(&w, "note.run", "{\"what\":\"unseal\",\"why\":\"to help\"}", ADMIN, 200, 0);
    uint32_t first = w.call;
    for (int i = 0; i < 50; i++)
        sw_post(&w, "note.public", "{}", ADMIN, 200, 0);
    w.call = first; // the number under which the value is given
    for (int i = 0; i < 51; i++) {
        assert_true(sw_answer(&w));
        assert_true(w.ok);
        has(w.result, i == 0 ? "secret" : "school");
    }
    sw_free(&w);
}

static void a_job_reads_long_and_writes_short(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_true(sw_call_as(&w, "note.job", "{\"title\":\"T\"}", ADMIN, HM_CALL_JOB_RUN));
    assert_string_equal(w.result, "{\"n\":2}");
    assert_true(w.progress == 0.5);
    assert_false(sw_call_as(&w, "note.job", "{\"write\":true}", ADMIN, HM_CALL_JOB_RUN));
    has(w.data, "long part of a job");
    assert_true(sw_call_as(&w, "note.job", "{\"params\":{\"title\":\"T\"},\"result\":{\"n\":2}}", ADMIN,
                           HM_CALL_JOB_DONE));
    assert_string_equal(w.result, "2");
    has(w.intents, "put note job2 0 {\"state\":\"open\",\"title\":\"T\"}");
    sw_free(&w);
}

static void invitations_are_made_by_those_who_may(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_true(RUN(&w, "invite"));
    has(w.result, "{\"out\":[false,\"");
    has(w.intents, "put invitation ");
    has(w.intents, "\"expires\":1789448400000,\"name\":\"Aziz\",\"person\":\"s1\",\"roles\":[\"student\"]}");
    assert_false(sw_call_as(&w, "note.run", "{\"what\":\"invite\"}", STUDENT, 0));
    assert_int_equal(w.code, HM_FORBIDDEN);
    const char *coordinator = "{\"person\":\"c\",\"roles\":[\"coordinator\"]}";
    assert_true(sw_call_as(&w, "note.run", "{\"what\":\"invite\",\"roles\":[\"student\"]}", coordinator, 0));
    assert_false(sw_call_as(&w, "note.run", "{\"what\":\"invite\",\"roles\":[\"coach\"]}", coordinator, 0));
    has(w.data, "administrator");
    sw_free(&w);
}

static void methods_call_methods_in_one_transaction(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_true(RUN(&w, "inner"));
    has(w.result, "\"in\",2]}");
    has(w.intents, "put note in 0");
    has(w.intents, "put note job2 0");
    assert_false(RUN(&w, "forever"));
    has(w.data, "too deep");
    assert_true(RUN(&w, "inner"));
    sw_free(&w);
}

static void errors_say_who_made_them_and_where(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    sw_fails(&w, "note.run", "{\"what\":\"bug\"}", HM_PLUGIN, "\"plugin\":\"tester\",\"version\":\"");
    has(w.data, "\"file\":\"services/tester.lua\",\"line\":");
    has(w.data, "\"message\":\"attempt to index a nil value (local 'nothing')\"");
    assert_string_equal(w.message, "plugin error");
    sw_fails(&w, "note.run", "{\"what\":\"refuse\"}", HM_CONFLICT, "{\"places\":0,\"reason\":\"full\"}");
    sw_fails(&w, "note.run", "{\"what\":\"not_found\"}", HM_NOT_FOUND, "{}");
    sw_fails(&w, "note.run", "{\"what\":\"invalid\"}", HM_PARAMS,
             "{\"errors\":[{\"message\":\"is away\",\"path\":\"mentor\"}]}");
    sw_fails(&w, "note.run", "{\"what\":\"raise_table\"}", HM_PLUGIN, "an error value of type table");
    sw_fails(&w, "note.run", "{\"what\":\"big\"}", HM_TOO_LARGE, "\"limit\":\"output\"");
    sw_fails(&w, "note.run", "{\"what\":\"log\"}", HM_TOO_LARGE,
             "{\"limit\":\"log_lines\",\"limit_lines\":3,\"plugin\":\"tester\",\"version\":\"");
    has(w.data, "\"file\":\"services/tester.lua\",\"line\":");
    assert_string_equal(w.logs, "tester: line 1\ntester: line 2\ntester: line 3\n");
    RUN_GIVES(&w, "plugins", "[\"tester\",\"service\",\"shipped\",12,1,0]");
    sw_free(&w);
}

static void nothing_of_a_call_is_left_for_the_next(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    for (int i = 0; i < 2; i++) // a walk that a script would keep
        sw_fails(&w, "note.run", "{\"what\":\"kept\"}", HM_PLUGIN, "nothing stays from one call to the next");
    sw_free(&w);
}

static void reactions_and_schedules_run(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    sw_gives(&w, "$react", "{\"change\":{\"seq\":9,\"type\":\"note\",\"action\":\"created\",\"id\":\"a\"}}",
             "{\"ran\":1}");
    has(w.intents, "\"title\":\"seen created\"");
    sw_gives(&w, "$react", "{\"change\":{\"seq\":9,\"type\":\"note\",\"action\":\"deleted\",\"id\":\"a\"}}",
             "{\"ran\":0}");
    sw_gives(&w, "$every", "{\"plugin\":\"tester\",\"cron\":\"0 8 * * *\"}", "\"morning\"");
    assert_true(sw_call_as(&w, "$plugins", "{\"kind\":\"service\",\"id\":\"tester\"}", ADMIN, 0));
    has(w.result, "\"source\":\"local KEPT");
    has(w.result, "\"declaration\":{");
    sw_free(&w);
}

// ---- loading -----------------------------------------------------------------------------------

static void an_institutions_version_lies_over_the_shipped_one_and_may_inherit(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(&w, "services/a.lua",
                  "return service { id = 'a', methods = { ['a.one'] = { access = 'public', run = function() "
                  "return 1 end } } }");
    sw_put_core(&w, "plugin", "service/a", "{\"kind\":\"service\",\"id\":\"a\",\"active\":\"v1\"}");
    sw_put_core(&w, "plugin_version", "v1",
                "{\"kind\":\"service\",\"id\":\"a\",\"source\":\"local d = inherit() d.methods['a.two'] = { "
                "access = 'public', run = function() "
                "return 2 end } return d\"}");
    assert_true(sw_start(&w, ""));
    sw_gives(&w, "a.one", "{}", "1");
    sw_gives(&w, "a.two", "{}", "2");
    has(w.catalogue.data, "\"layer\":\"institution\"");
    has(w.catalogue.data, "\"overrides\":true");
    sw_free(&w);
}

static void a_candidate_is_tried_in_place_of_the_stored_one(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_put_core(&w, "plugin", "service/a", "{\"kind\":\"service\",\"id\":\"a\",\"active\":\"v1\"}");
    sw_put_core(&w, "plugin_version", "v1", "{\"source\":\"not Lua\"}");
    assert_true(sw_start(
        &w, "\"run_tests\":true,\"candidates\":[{\"kind\":\"services\",\"id\":\"a\",\"source\":\"return "
            "service { id = 'a', tests "
            "= { ['it holds'] = function(t) t:equal({ 1, { b = 2 } }, { 1, { b = 2.0 } }) end } }\"}]"));
    sw_free(&w);
    sw_prepare(&w, NULL);
    assert_false(sw_start(&w, "\"run_tests\":true,\"candidates\":[{\"kind\":\"service\",\"id\":\"a\","
                              "\"source\":\"return service { id = 'a', "
                              "tests = {\\n['it holds'] = function(t)\\nt:equal(1, 2, 'one') end } }\"}]"));
    assert_string_equal(w.data,
                        "[{\"plugin\":\"a\",\"file\":\"services/a.lua\",\"line\":3,\"message\":\"test \\\"it "
                        "holds\\\": one: 1 is not 2\"}]");
    assert_int_equal(WEXITSTATUS(sw_stop(&w)), 2);
    sw_free(&w);
}

static void every_fault_of_every_plugin_is_told_at_once(void **state) {
    (void)state;
    struct sw w;
    sw_prepare(&w, NULL);
    sw_write_file(&w, "services/a.lua",
                  "return service {\n id = 'a', methods = {\n ['x.y'] = { access = 'everyone', run = "
                  "function() end } } }");
    sw_write_file(&w, "services/b.lua", "local x =\nreturn");
    sw_write_file(&w, "services/c.lua",
                  "return service {\n id = 'c', records = { r = { fields = { a = text {} }, indexes = { by_b "
                  "= { fields = { 'b' } } } } } }");
    sw_write_file(&w, "services/d.lua", "while true do end");
    assert_false(sw_start(&w, ""));
    has(w.data, "{\"plugin\":\"a\",\"file\":\"services/a.lua\",\"line\":3,\"message\":\"methods.x.y.access: "
                "must be \\\"public\\\"");
    has(w.data, "\"file\":\"services/b.lua\",\"line\":2,\"message\":\"unexpected symbol near 'return'\"");
    has(w.data, "\"file\":\"services/c.lua\",\"line\":2,\"message\":\"records.r.indexes.by_b.fields[1]: the "
                "record has no field 'b'\"");
    has(w.data, "\"file\":\"services/d.lua\",\"line\":1,\"message\":\"the limit of 2000 ms of computing was "
                "exceeded\"");
    sw_stop(&w);
    sw_free(&w);
    sw_prepare(&w, NULL);
    sw_write_file(
        &w, "services/a.lua",
        "return service { id = 'a', methods = { ['x.y'] = { access = 'public', run = function() end } } }");
    sw_write_file(
        &w, "services/b.lua",
        "return service { id = 'b', methods = { ['x.y'] = { access = 'public', run = function() end } } }");
    assert_false(sw_start(&w, ""));
    has(w.data, "methods: \\\"x.y\\\" is declared by a already");
    sw_stop(&w);
    sw_free(&w);
}

static void the_worker_ends_with_the_socket(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    assert_int_equal(sw_stop(&w), 0);
    sw_free(&w);
}

static void a_worker_sees_every_commit_and_follows_the_map_as_it_grows(void **state) {
    (void)state;
    struct sw w;
    char *big = malloc(400001), id[16];
    sw_prepare(&w, TYPES);
    add_tester(&w);
    assert_true(sw_start(&w, ""));
    fx_open(&w.f, 0); // as the server has it, in this process
    memset(big, 'x', 400000);
    memcpy(big, "{\"title\":\"", 10);
    memcpy(big + 399998, "\"}", 3);
    for (int i = 0; i < 300; i++) { // 120 MB: the first map has 64
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(fx_put(&w.f, "note", id, big), HM_OK);
        if (i % 50 == 0) {
            char params[60];
            snprintf(params, sizeof params, "{\"what\":\"length\",\"id\":\"%s\"}", id);
            sw_gives(&w, "note.run", params, "{\"out\":399988}");
        }
    }
    sw_gives(&w, "note.run", "{\"what\":\"length\",\"id\":\"n299\"}", "{\"out\":399988}");
    free(big);
    assert_int_equal(sw_stop(&w), 0);
    sw_free(&w);
}

static void a_frame_that_cannot_be_one_ends_the_worker(void **state) {
    (void)state;
    struct sw w;
    ready(&w);
    uint8_t kind = 0;
    struct hm_reader r;
    assert_int_equal(send(w.fd, "\xff\xff\xff\xff\x02", 5, MSG_NOSIGNAL), 5);
    assert_false(sw_receive(&w, &kind, &r));
    assert_int_equal(WEXITSTATUS(sw_stop(&w)), 1);
    sw_free(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_worker_says_what_its_plugins_declare),
    cmocka_unit_test(params_are_checked_all_at_once_and_defaults_filled_in),
    cmocka_unit_test(rights_are_asked_for),
    cmocka_unit_test(who_may_see_a_record_is_its_audience),
    cmocka_unit_test(own_writes_stand_where_they_belong_among_what_is_stored),
    cmocka_unit_test(what_was_read_is_told),
    cmocka_unit_test(writes_meet_what_is_there),
    cmocka_unit_test(a_try_tells_what_it_would_change_and_changes_nothing),
    cmocka_unit_test(the_same_seed_gives_the_same_call),
    cmocka_unit_test(sealed_fields_are_not_given_out),
    cmocka_unit_test(calls_that_wait_for_the_server_do_not_lose_others),
    cmocka_unit_test(a_job_reads_long_and_writes_short),
    cmocka_unit_test(invitations_are_made_by_those_who_may),
    cmocka_unit_test(methods_call_methods_in_one_transaction),
    cmocka_unit_test(errors_say_who_made_them_and_where),
    cmocka_unit_test(nothing_of_a_call_is_left_for_the_next),
    cmocka_unit_test(reactions_and_schedules_run),
    cmocka_unit_test(an_institutions_version_lies_over_the_shipped_one_and_may_inherit),
    cmocka_unit_test(a_candidate_is_tried_in_place_of_the_stored_one),
    cmocka_unit_test(every_fault_of_every_plugin_is_told_at_once),
    cmocka_unit_test(the_worker_ends_with_the_socket),
    cmocka_unit_test(a_worker_sees_every_commit_and_follows_the_map_as_it_grows),
    cmocka_unit_test(a_frame_that_cannot_be_one_ends_the_worker),
};
SCRIPT_MAIN(tests)
