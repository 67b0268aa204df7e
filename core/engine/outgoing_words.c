// The few sentences that the server itself writes to people outside the web client. Each in the four
// languages, and none tells anything of anybody: who reads over a shoulder learns that there is an account,
// no more. {code} is replaced.
#include "engine/outgoing.h"

static const char *const locales[] = {"uz", "uz-Cyrl", "ru", "en"};
#define LOCALES (sizeof locales / sizeof *locales)

static const char *const words[OUT_WORDS][LOCALES] = {
    [OUT_SUBJECT] = {"Hamrohda siz uchun yangilik bor", "Ҳамроҳда сиз учун янгилик бор",
                     "Для вас есть новость в Hamroh", "There is news for you in Hamroh"},
    [OUT_NEWS] = {"Hamrohda sizni yangilik kutmoqda. Oʻqish uchun Hamrohga kiring.",
                  "Ҳамроҳда сизни янгилик кутмоқда. Ўқиш учун Ҳамроҳга киринг.",
                  "В Hamroh вас ждёт новость. Чтобы прочитать её, войдите в Hamroh.",
                  "There is news waiting for you in Hamroh. Sign in to read it."},
    [OUT_CODE_SUBJECT] = {"Hamroh uchun kod", "Ҳамроҳ учун код", "Код для Hamroh", "Code for Hamroh"},
    [OUT_CODE] =
        {"Kodingiz: {code}\n\nUni bir soat ichida Hamrohda kiriting. Agar kodni siz soʻramagan boʻlsangiz, "
         "hech "
         "narsa qilmang.",
         "Кодингиз: {code}\n\nУни бир соат ичида Ҳамроҳда киритинг. Агар кодни сиз сўрамаган бўлсангиз, ҳеч "
         "нарса "
         "қилманг.",
         "Ваш код: {code}\n\nВведите его в Hamroh в течение часа. Если вы не запрашивали код, ничего не "
         "делайте.",
         "Your code: {code}\n\nEnter it in Hamroh within an hour. If you did not ask for it, do nothing."},
    [OUT_WELCOME] = {"Endi Hamrohdagi yangiliklaringiz haqida shu yerda xabar beriladi.",
                     "Энди Ҳамроҳдаги янгиликларингиз ҳақида шу ерда хабар берилади.",
                     "Теперь о ваших новостях в Hamroh будет сообщаться здесь.",
                     "From now on you will hear of your news in Hamroh here."},
    [OUT_TEST] = {"Bu Hamrohning sinov xabari. Xabar yuborish ishlayapti.",
                  "Бу Ҳамроҳнинг синов хабари. Хабар юбориш ишлаяпти.",
                  "Это пробное сообщение Hamroh. Отправка работает.",
                  "This is a test message of Hamroh. Sending works."},
    [OUT_FOOT] = {"Nimalar va qachon yuborilishini Hamrohdagi sahifangizda oʻzgartirishingiz mumkin.",
                  "Нималар ва қачон юборилишини Ҳамроҳдаги саҳифангизда ўзгартиришингиз мумкин.",
                  "Что и когда вам присылать, вы можете изменить на своей странице в Hamroh.",
                  "What is sent to you, and when, you can change on your page in Hamroh."},
};

bool hm_locale_known(const char *locale) {
    for (size_t i = 0; i < LOCALES; i++)
        if (strcmp(locale, locales[i]) == 0) return true;
    return false;
}

const char *hm_out_word(enum out_word word, const char *locale) {
    for (size_t i = 0; i < LOCALES; i++)
        if (strcmp(locale, locales[i]) == 0) return words[word][i];
    return words[word][0];
}
