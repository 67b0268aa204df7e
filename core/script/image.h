// What a state of Lua has when its plugins are loaded, kept apart from what calls make: objects (tables,
// functions, texts) in one part, and what they point to and Lua's collector never writes (the members of
// tables, code, constants) in another. That other part can be sealed: whoever writes into it then, be it a
// script or a function of ours, meets a fault of memory, and so it is known that a call has changed what the
// next would see, at no cost for the calls that do not.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HM_IMAGE_PART ((size_t)256 << 20) // addresses reserved for each part
#define HM_IMAGE_CLASSES 128u

struct hm_image_part {
    char *base, *at, *ready; // NULL: none; free from at on; memory up to ready
    void *free[HM_IMAGE_CLASSES];
};
struct hm_image {
    char *base; // both parts, one behind the other: objects, members
    struct hm_image_part objects, members;
    bool sealed;
};

// False: no addresses to be had. An image of zeros is closed.
bool hm_image_open(struct hm_image *image);
void hm_image_close(struct hm_image *image);
// Before it is sealed. NULL: there is no room.
void *hm_image_take(struct hm_image *image, bool object, size_t size);
void hm_image_give(struct hm_image *image, void *p, size_t size);
size_t hm_image_room(size_t size); // what an allocation of this size occupies
static inline bool hm_image_has(const struct hm_image *image, const void *p) {
    return (uintptr_t)p - (uintptr_t)image->base < 2 * HM_IMAGE_PART && image->base;
}
static inline bool hm_image_is_object(const struct hm_image *image, const void *p) {
    return (uintptr_t)p - (uintptr_t)image->base < HM_IMAGE_PART && image->base;
}
static inline bool hm_image_is_member(const struct hm_image *image, const void *p) {
    return hm_image_has(image, p) && !hm_image_is_object(image, p);
}
size_t hm_image_bytes(const struct hm_image *image);
bool hm_image_seal(struct hm_image *image);
// From the handler of the fault.
bool hm_image_unseal(struct hm_image *image);
