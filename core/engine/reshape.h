// Types that change while they serve (reshape.c), for the files that put types in force. Loop thread.
#pragma once
#include "engine/internal.h"

struct hm_losses {
    struct loss {
        char type[HM_NAME_MAX + 1], field[161], what[16], example[HM_ID_MAX + 1];
        int64_t records;
    } * list;
    size_t count;
};
// what: dropped_field, dropped_sealed, narrowed, missing, dropped_type. The same of the same is one.
void hm_losses_add(struct hm_losses *all, const char *type, const char *what, const char *field,
                   int64_t records, const char *example);
void hm_losses_json(const struct hm_losses *all,
                    struct hm_buf *out); // [{type,field?,what,records,example?,text}]
void hm_losses_free(struct hm_losses *all);

enum reshape_how {
    RESHAPE_LOOK,      // only says what would be lost
    RESHAPE_ASK,       // is refused when something would be lost: HM_CONFLICT
    RESHAPE_CONFIRMED, // somebody has said yes to that
    RESHAPE_START,     // nobody can be asked: declared upgrades are done, nothing else is taken away
};
// changes: JSON array of what would be, or is, lost. ok, and not RESHAPE_LOOK: all is prepared, and writes
// may be held; now an item with `types` must be submitted, or hm_reshape_end called. Else it has ended
// already. HM_PLUGIN: the declarations and the records do not go together, in words for administrators.
typedef void (*reshape_done)(void *arg, bool ok, const struct hm_error *err, struct hm_str changes);
// proc: a worker that has loaded cat; it is asked, and must outlive it. One at a time for an institution.
void hm_reshape_start(struct institution *inst, struct proc *proc, struct catalogue *cat,
                      enum reshape_how how, void *arg, reshape_done done);
void hm_reshape_end(struct institution *inst);             // given up
void hm_reshape_forced(struct institution *inst, bool ok); // what became of the item with the types
void hm_reshape_close(struct institution *inst);           // closing: done is called
void hm_reshape_go(struct institution *inst);   // what waits for commits, or for the rest of another
void hm_reshape_rest(struct institution *inst); // what is to be done afterwards
// Something is prepared, and the rest of an earlier change has to wait.
bool hm_reshape_begun(const struct institution *inst);
bool hm_reshape_outdated(const struct proc *proc, const struct call *call, uint8_t kind,
                         struct hm_str payload);
void hm_reshape_json(const struct institution *inst, struct hm_buf *out); // ,"changing":{…} while one goes on
// ,"kept":[{"type","records"}]: what the store has of types that no plugin declares.
void hm_reshape_kept(const struct institution *inst, struct hm_read *read, struct hm_buf *out);
