// What stored records would lose by a change of their types, counted, and in words for who is to decide. Loop
// thread.
#include "engine/reshape.h"

#include <stdio.h>
#include <stdlib.h>

#define LOSSES_MAX 200u

void hm_losses_add(struct hm_losses *all, const char *type, const char *what, const char *field,
                   int64_t records, const char *example) {
    for (size_t i = 0; i < all->count; i++) {
        struct loss *l = &all->list[i];
        if (strcmp(l->type, type) != 0 || strcmp(l->what, what) != 0 || strcmp(l->field, field) != 0)
            continue;
        l->records += records;
        return;
    }
    if (all->count == LOSSES_MAX) return;
    all->list = hm_realloc(all->list, (all->count + 1) * sizeof *all->list);
    struct loss *l = &all->list[all->count++];
    *l = (struct loss){.records = records};
    snprintf(l->type, sizeof l->type, "%s", type);
    snprintf(l->what, sizeof l->what, "%s", what);
    snprintf(l->field, sizeof l->field, "%s", field);
    snprintf(l->example, sizeof l->example, "%s", example);
}

static const struct {
    const char *what, *words[4]; // uz, uz-Cyrl, ru, en: %1 records, %2 type, %3 field
} texts[] = {
    {"dropped_field",
     {"“%2” turidagi %1 ta yozuvning “%3” maydonida qiymat bor; maydon olib tashlanadi, qiymatlar yoʻqoladi.",
      "“%2” туридаги %1 та ёзувнинг “%3” майдонида қиймат бор; майдон олиб ташланади, қийматлар йўқолади.",
      "Записей типа «%2», у которых заполнено поле «%3»: %1; поле убирается, и значения пропадут.",
      "%1 records of type “%2” have a value in the field “%3”, which is taken away; the values are lost."}},
    {"dropped_sealed",
     {"“%2” turidagi %1 ta yozuvning “%3” maydonida muhrlangan qiymat bor; u yoʻqoladi va tiklab boʻlmaydi.",
      "“%2” туридаги %1 та ёзувнинг “%3” майдонида муҳрланган қиймат бор; у йўқолади ва тиклаб бўлмайди.",
      "Записей типа «%2» с запечатанным значением в поле «%3»: %1; значения пропадут безвозвратно.",
      "%1 records of type “%2” have a sealed value in the field “%3”; the values are lost for good."}},
    {"narrowed",
     {"“%2” turidagi %1 ta yozuvning “%3” maydonidagi qiymat yangi shartga mos kelmaydi va yoʻqoladi.",
      "“%2” туридаги %1 та ёзувнинг “%3” майдонидаги қиймат янги шартга мос келмайди ва йўқолади.",
      "Записей типа «%2», у которых значение поля «%3» больше не допускается: %1; эти значения пропадут.",
      "%1 records of type “%2” have a value in the field “%3” that is no longer allowed; these values are "
      "lost."}},
    {"missing",
     {"“%2” turidagi %1 ta yozuvda majburiy “%3” maydoni yoʻq; u keyin toʻldirilishi kerak.",
      "“%2” туридаги %1 та ёзувда мажбурий “%3” майдони йўқ; у кейин тўлдирилиши керак.",
      "Записей типа «%2», в которых нет обязательного поля «%3»: %1; его придётся заполнить потом.",
      "%1 records of type “%2” lack the required field “%3”; it has to be filled in afterwards."}},
    {"dropped_type",
     {"“%2” turi olib tashlanadi, unda %1 ta yozuv bor; ular saqlanadi, lekin ularni hech kim koʻrmaydi.",
      "“%2” тури олиб ташланади, унда %1 та ёзув бор; улар сақланади, лекин уларни ҳеч ким кўрмайди.",
      "Тип «%2» убирается, а записей в нём: %1; они сохранятся, но их никто не увидит.",
      "The type “%2” is taken away and has %1 records; they are kept, but nobody sees them any more."}},
};

static void put_text(const struct loss *l, const char *words, struct hm_buf *out) {
    struct hm_buf text = {0};
    for (const char *c = words; *c; c++) {
        if (*c != '%') {
            hm_buf_char(&text, *c);
            continue;
        }
        c++;
        if (*c == '1') hm_buf_printf(&text, "%lld", (long long)l->records);
        if (*c == '2') hm_buf_text(&text, l->type);
        if (*c == '3') hm_buf_text(&text, l->field);
    }
    hm_json_put_str(out, hm_buf_view(&text));
    hm_buf_free(&text);
}

static void put_loss(const struct loss *l, struct hm_buf *out) {
    static const char *const languages[] = {"uz", "uz-Cyrl", "ru", "en"};
    hm_buf_char(out, '{');
    hm_json_member_str(out, "type", hm_str_of(l->type));
    if (l->field[0]) hm_json_member_str(out, "field", hm_str_of(l->field));
    hm_json_member_str(out, "what", hm_str_of(l->what));
    hm_json_member_int(out, "records", l->records);
    if (l->example[0]) hm_json_member_str(out, "example", hm_str_of(l->example));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].what, l->what) != 0) continue;
        hm_json_key(out, "text");
        hm_buf_char(out, '{');
        for (size_t k = 0; k < 4; k++) {
            hm_json_key(out, languages[k]);
            put_text(l, texts[i].words[k], out);
        }
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, '}');
}

void hm_losses_json(const struct hm_losses *all, struct hm_buf *out) {
    hm_buf_char(out, '[');
    for (size_t i = 0; i < all->count; i++) {
        if (i) hm_buf_char(out, ',');
        put_loss(&all->list[i], out);
    }
    hm_buf_char(out, ']');
}

void hm_losses_free(struct hm_losses *all) {
    free(all->list);
    *all = (struct hm_losses){0};
}
