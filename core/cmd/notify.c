// hamroh notify: an operator tries what leaves the server. One thread.
#include "cmd/client.h"
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

// What to look at, in words; the server's log has the same reason.
static const char *meaning(const char *reason) {
    static const char *const known[][2] = {
        {"not_set_up",
         "the settings for it are not set: smtp_url and smtp_from, or telegram_token_file and telegram_bot"},
        {"password_file", "smtp_password_file cannot be read by the server, or is not one line"},
        {"token_file", "telegram_token_file cannot be read by the server, or is not one line"},
        {"name_unknown", "the server's name in smtp_url or telegram_api is not known here (DNS)"},
        {"not_reached", "nothing answers there: address, port, or a firewall"},
        {"timeout", "it did not answer in outgoing_timeout_ms"},
        {"certificate",
         "its certificate is not believed: the name is another, it is out of date, or outgoing_ca is needed"},
        {"tls", "TLS does not come about: is it smtp:// (STARTTLS) or smtps://?"},
        {"no_encryption", "it offers no STARTTLS; smtp_plain allows that, for a mail server on this machine"},
        {"login_denied", "it does not take smtp_user with this password"},
        {"status", "it refused the message"},
        {"connection", "the connection broke"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(reason, known[i][0]) == 0) return known[i][1];
    return "it could not be sent";
}

static int say(const char *command, struct hm_str answer) {
    struct hm_json result, value;
    char reason[64] = "";
    int64_t status = 0;
    bool sent = false;
    if (!hm_json_parse(answer, &result, NULL)) return HM_EXIT_FAILED;
    if (hm_json_get(result, "sent", &value)) hm_json_bool(value, &sent);
    hm_json_get_text(result, "reason", reason, sizeof reason);
    if (hm_json_get(result, "status", &value)) hm_json_int(value, &status);
    if (sent) {
        printf("Sent. Look whether it has come; also where unwanted mail goes.\n");
        return HM_EXIT_DONE;
    }
    if (status)
        return hm_complain(HM_EXIT_FAILED, command, "%s (%s, status %lld)", meaning(reason), reason,
                           (long long)status);
    return hm_complain(HM_EXIT_FAILED, command, "%s (%s)", meaning(reason), reason);
}

int hm_cmd_notify(int argc, char **argv) {
    const char *data = NULL;
    const struct hm_option options[] = {{"--data", &data, NULL, true}, {0}};
    int count, code = HM_EXIT_FAILED;
    char **words, reason[64];
    struct hm_client *client = NULL;
    struct hm_buf params = {0}, answer = {0}, problem = {0};
    struct hm_error err = {0};
    struct hm_json why;
    if (!hm_options(argc, argv, options, false, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 2, 2)) return HM_EXIT_USAGE;
    if (strcmp(words[0], "test") != 0)
        return hm_complain(HM_EXIT_USAGE, argv[0], "there is no action %s; there is test", words[0]);
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "channel", strchr(words[1], '@') ? HM_LIT("email") : HM_LIT("telegram"));
    hm_json_member_str(&params, "address", hm_str_of(words[1]));
    hm_buf_char(&params, '}');
    if (hm_client_open(data, &client, &err) &&
        hm_client_call(client, "outgoing.test", hm_buf_view(&params), (struct hm_call_as){0}, &answer,
                       &problem, &err))
        code = say(argv[0], hm_buf_view(&answer));
    else if (hm_json_parse(hm_buf_view(&problem), &why, NULL) &&
             hm_json_get_text(why, "reason", reason, sizeof reason))
        code = hm_complain(HM_EXIT_FAILED, argv[0], "%s (%s)", meaning(reason), reason);
    else
        code = hm_client_complain(argv[0], &err, hm_buf_view(&problem));
    hm_client_close(client);
    hm_buf_free(&params);
    hm_buf_free(&answer);
    hm_buf_free(&problem);
    return code;
}
