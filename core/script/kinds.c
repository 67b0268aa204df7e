// One row for every constructor of plugins/lib/kinds: signature and words for plugins/meta. Data only.
#include "script/kinds.h"

#define SHAPE_OPTIONS "required: boolean?, default: any, title: any, description: string?"
static const struct hm_lua_fn schema_rows[] = {
    {"text", "options: {min: integer?, max: integer?, max_length: integer?, " SHAPE_OPTIONS "}? -> table",
     "Text; min and max count characters.", NULL, NULL},
    {"integer", "options: {min: integer?, max: integer?, " SHAPE_OPTIONS "}? -> table", "A whole number.",
     NULL, NULL},
    {"number", "options: {min: number?, max: number?, " SHAPE_OPTIONS "}? -> table", "A number.", NULL, NULL},
    {"boolean", "options: {" SHAPE_OPTIONS "}? -> table", "true or false.", NULL, NULL},
    {"choice", "options: {values: any[], " SHAPE_OPTIONS "} -> table",
     "One of some values; also choice{ \"a\", \"b\" }.", NULL, NULL},
    {"list", "options: {of: table?, min: integer?, max: integer?, " SHAPE_OPTIONS "}? -> table",
     "A list of values of one shape.", NULL, NULL},
    {"object", "options: {fields: table<string, table>, open: boolean?, " SHAPE_OPTIONS "} -> table",
     "An object; open: other names are let be.", NULL, NULL},
    {"map", "options: {of: table?, max: integer?, " SHAPE_OPTIONS "}? -> table",
     "An object with any names and values of one shape.", NULL, NULL},
    {"date", "options: {" SHAPE_OPTIONS "}? -> table", "A date as \"2026-09-01\".", NULL, NULL},
    {"time", "options: {min: integer?, max: integer?, " SHAPE_OPTIONS "}? -> table",
     "A moment: whole milliseconds since 1970 UTC.", NULL, NULL},
    {"ref", "to: string|{to: string?, " SHAPE_OPTIONS "} -> table",
     "The id of a record: ref \"person\", ref \"person\" { required = true }.", NULL, NULL},
    {"any", "options: {" SHAPE_OPTIONS "}? -> table", "Any value.", NULL, NULL},
    {"translated", "options: {max: integer?, " SHAPE_OPTIONS "}? -> table", "Text, or texts by language.",
     NULL, NULL},
    {0}};

static const struct hm_lua_fn service_rows[] = {
    {"service",
     "declaration: {id: string, title: table?, records: table<string, table>?, methods: table<string, "
     "table>?, on: table<string, fun(ctx: Ctx, change: Change)>?, every: table<string, fun(ctx: Ctx, due: "
     "integer)|table>?, tests: table<string, fun(t: T)>?} -> table",
     "Record types, methods, reactions to changes, and what is done at times.", NULL, NULL},
    {0}};

static const struct hm_lua_fn matcher_rows[] = {
    {"matcher",
     "declaration: {id: string, title: table, form: string?, mentor: table?, mentee: table?, must: table[]?, "
     "prefer: table[], pair: function?, fairness: table?, keep: table?, tests: table?} "
     "-> table",
     "A rule for making pairs; its points are 10,000 in all.", NULL, NULL},
    {"at_least", "value: number -> table", "Condition on one person: the field is this or more.", NULL, NULL},
    {"at_most", "value: number -> table", "The field is this or less.", NULL, NULL},
    {"below", "value: number -> table", "The field is less than this.", NULL, NULL},
    {"above", "value: number -> table", "The field is more than this.", NULL, NULL},
    {"equals", "value: any -> table", "The field is this.", NULL, NULL},
    {"one_of", "values: any[] -> table", "The field is one of these.", NULL, NULL},
    {"has", "value: any -> table", "The list in the field has this in it.", NULL, NULL},
    {"present", "table", "The field is there at all.", NULL, "value"},
    {"share", "field: string -> table", "Must: both lists have something in common.", NULL, NULL},
    {"respects", "field: string -> table", "Must: what each wants of the other's gender holds.", NULL, NULL},
    {"not_in", "field: string -> table", "Must: neither is in the other's list.", NULL, NULL},
    {"equal_to", "field: string -> table", "Must: both have the same.", NULL, NULL},
    {"overlap", "field: string, options: {hours: integer}? -> table",
     "Must: so many hours of the week in common.", NULL, NULL},
    {"complement",
     "strengths: string, needs: string, options: {points: integer, full_at: integer?, name: string?} -> "
     "table",
     "Prefer: the mentor is strong where the mentee needs it.", NULL, NULL},
    {"shared", "field: string, options: {points: integer, full_at: integer?, name: string?} -> table",
     "Prefer: much in common.", NULL, NULL},
    {"near", "field: string, options: {points: integer, within: number, name: string?} -> table",
     "Prefer: numbers close to each other.", NULL, NULL},
    {"equal", "field: string, options: {points: integer, name: string?} -> table", "Prefer: the same.", NULL,
     NULL},
    {"weekend", "field: string, options: {points: integer, full_at: integer?, name: string?} -> table",
     "Prefer: free hours in common on Saturday and Sunday.", NULL, NULL},
    {"higher",
     "field: string, options: {points: integer, within: number?, full_at: integer?, name: string?} -> table",
     "Prefer: the mentor's number is higher.", NULL, NULL},
    {"gap",
     "field: string, options: {points: integer, within: number?, full_at: integer?, name: string?} -> table",
     "Prefer: a distance between the numbers.", NULL, NULL},
    {0}};

static const struct hm_lua_fn activity_rows[] = {
    {"activity",
     "declaration: {id: string, title: table, icon: string?, fields: table<string, table>?, entry: "
     "table<string, table>?, stages: string[], stage_titles: table?, roles: table?, on_register: function?, "
     "on_stage: function?, score: function?, rank: function?, outcome: function?, tests: table?} -> table",
     "A kind of thing that people do together.", NULL, NULL},
    {0}};

#define ITEM "[1]: string, [2]: table, key: string?, required: boolean?, note: table?"
static const struct hm_lua_fn questionnaire_rows[] = {
    {"questionnaire",
     "declaration: {id: string, title: table, source: string, sensitive: boolean?, audience: string[]?, "
     "minutes: integer?, intro: table?, stem: table?, items: table[], pages: string[][]?, show_if: "
     "table<string, function>?, scales: table?, bands: table?, alert: function?, result: function?, tests: "
     "table?} -> table",
     "Questions, how they are scored, and what the answers mean.", NULL, NULL},
    {"likert", "item: {" ITEM ", scale: table, reverse: boolean?} -> table",
     "A sentence with steps of agreement. key: the scale it counts for.", NULL, NULL},
    {"choice_item", "item: {" ITEM ", options: table[], many: boolean?} -> table",
     "One of some options { value, text, score = n }.", NULL, NULL},
    {"yes_no", "item: {" ITEM ", reverse: boolean?} -> table", "Yes (1) or no (0).", NULL, NULL},
    {"number_item", "item: {" ITEM ", min: number?, max: number?, whole: boolean?, unit: string?} -> table",
     "A number.", NULL, NULL},
    {"text_item", "item: {" ITEM ", max: integer?, lines: integer?} -> table", "A text in one's own words.",
     NULL, NULL},
    {"mean", "options: {min_answered: number?, title: table?, note: any}? -> table",
     "A scale that is the mean of its items; min_answered: the part that must be answered, 0.8 unless said.",
     NULL, NULL},
    {"sum", "options: {min_answered: number?, title: table?, note: any}? -> table",
     "A scale that is the sum of its items, prorated when something is missing.", NULL, NULL},
    {"scored",
     "expected: {answers: table, gives: table<string, number>?, bands: table<string, string>?} -> function",
     "A test: these answers give these scores.", NULL, NULL},
    {"agree5", "table", "Strongly disagree (1) to strongly agree (5).", NULL, "value"},
    {"difficulty5", "table", "Not difficult at all (1) to extremely difficult (5).", NULL, "value"},
    {"accuracy5", "table", "Very inaccurate (1) to very accurate (5).", NULL, "value"},
    {"frequency4", "table", "Not at all (0) to nearly every day (3).", NULL, "value"},
    {0}};

static const struct hm_lua_fn report_rows[] = {
    {"report",
     "declaration: {id: string, title: table, params: table<string, table>?, run: fun(ctx: Ctx, params: "
     "table): table, charts: table?, access: string[]?, tests: table?} -> table",
     "Figures, with what they mean in words.", NULL, NULL},
    {0}};

const struct hm_constructors hm_constructor_groups[] = {
    {"schema", "Shapes of data, in all kinds of plugins.", schema_rows},
    {"service", "In plugins/services.", service_rows},
    {"matcher", "In plugins/matchers.", matcher_rows},
    {"activity", "In plugins/activities.", activity_rows},
    {"questionnaire", "In plugins/questionnaires.", questionnaire_rows},
    {"report", "In plugins/reports.", report_rows},
    {0}};
