// The image: two ranges of addresses, handed out from their beginning; what is given back while plugins are
// loaded waits in lists by size. Worker thread; hm_image_unseal may run in a handler of a signal.
//
// What always holds: once sealed, nothing is handed out and nothing taken back, so that an address in a part
// is one of the loaded state for as long as the state lives.
#include "script/image.h"
#include <string.h>
#include <sys/mman.h>

#define STEP 16u
#define SMALL 512u        // up to this, a class every STEP bytes
#define GROW (256u << 10) // memory is made ready in such pieces

// Above SMALL four classes from one power of two to the next.
static size_t class_of(size_t size, size_t *room) {
    if (size <= SMALL) {
        size_t class = (size + STEP - 1) / STEP;
        *room = class * STEP;
        return class;
    }
    size_t class = SMALL / STEP, from = SMALL;
    while (size > from * 2) {
        from *= 2;
        class += 4;
    }
    size_t quarter = from / 4, steps = (size - from + quarter - 1) / quarter;
    *room = from + steps * quarter;
    return class + steps;
}

size_t hm_image_room(size_t size) {
    size_t room;
    class_of(size, &room);
    return room;
}

bool hm_image_open(struct hm_image *image) {
    char *p = mmap(NULL, 2 * HM_IMAGE_PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *image = (struct hm_image){0};
    if (p == MAP_FAILED) return false;
    image->base = p;
    image->objects.base = image->objects.at = image->objects.ready = p;
    image->members.base = image->members.at = image->members.ready = p + HM_IMAGE_PART;
    return true;
}

void hm_image_close(struct hm_image *image) {
    if (image->base) munmap(image->base, 2 * HM_IMAGE_PART);
    *image = (struct hm_image){0};
}

size_t hm_image_bytes(const struct hm_image *image) {
    return (size_t)(image->objects.ready - image->objects.base) +
           (size_t)(image->members.ready - image->members.base);
}

void *hm_image_take(struct hm_image *image, bool object, size_t size) {
    struct hm_image_part *part = object ? &image->objects : &image->members;
    size_t room, class = class_of(size, &room);
    if (image->sealed || class >= HM_IMAGE_CLASSES) return NULL;
    void *p = part->free[class];
    if (p) {
        memcpy(&part->free[class], p, sizeof p);
        return p;
    }
    if (room > (size_t)(part->base + HM_IMAGE_PART - part->at)) return NULL;
    while (room > (size_t)(part->ready - part->at)) {
        if (mprotect(part->ready, GROW, PROT_READ | PROT_WRITE) != 0) return NULL;
        part->ready += GROW;
    }
    p = part->at;
    part->at += room;
    return p;
}

void hm_image_give(struct hm_image *image, void *p, size_t size) {
    struct hm_image_part *part = hm_image_is_object(image, p) ? &image->objects : &image->members;
    size_t room, class = class_of(size, &room);
    if (image->sealed) return;
    memcpy(p, &part->free[class], sizeof p);
    part->free[class] = p;
}

static bool protect(struct hm_image_part *part, int how) {
    return part->ready == part->base || mprotect(part->base, (size_t)(part->ready - part->base), how) == 0;
}

bool hm_image_seal(struct hm_image *image) {
    image->sealed = image->members.base && protect(&image->members, PROT_READ);
    return image->sealed;
}

bool hm_image_unseal(struct hm_image *image) {
    image->sealed = false;
    return protect(&image->members, PROT_READ | PROT_WRITE);
}
