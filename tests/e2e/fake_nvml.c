/* NVIDIA's management library as far as this daemon calls it, over a file: each call reads it anew.
 *
 * FAKE_NVML names the file; its lines are
 *   device NAME TOTAL_BYTES FREE_BYTES
 *   process DEVICE_INDEX PID BYTES
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define INVALID_ARGUMENT 2
#define INSUFFICIENT_SIZE 7
#define UNKNOWN 999

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int pid; unsigned long long bytes; unsigned int gpu_instance, compute_instance; } process_t;
typedef struct { char name[64]; unsigned long long total, free; } card_t;

static FILE *open_file(void) {
    const char *path = getenv("FAKE_NVML");
    return path ? fopen(path, "r") : NULL;
}

/* Reads card `wanted`; returns how many cards there are, or -1. */
static int read_card(int wanted, card_t *found) {
    char line[256];
    int count = 0;
    FILE *file = open_file();
    if (!file) return -1;
    while (fgets(line, sizeof line, file)) {
        card_t one;
        if (sscanf(line, "device %63s %llu %llu", one.name, &one.total, &one.free) == 3 && count++ == wanted && found)
            *found = one;
    }
    fclose(file);
    return count;
}

static int card_of(void *handle, card_t *found) {
    int index = (int)(intptr_t)handle - 1;
    int count = read_card(index, found);
    return count < 0 ? UNKNOWN : index < 0 || index >= count ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return read_card(0, NULL) < 0 ? UNKNOWN : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code ? "as the file says" : "success"; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    int found = read_card(0, NULL);
    if (found < 0) return UNKNOWN;
    *count = (unsigned int)found;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    *handle = (void *)(intptr_t)(index + 1);
    return card_of(*handle, NULL);
}

int nvmlDeviceGetName(void *handle, char *name, unsigned int length) {
    card_t card;
    int code = card_of(handle, &card);
    if (!code) snprintf(name, length, "%s", card.name);
    return code;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    card_t card;
    int code = card_of(handle, &card);
    if (code) return code;
    memory->total = card.total;
    memory->free = card.free;
    memory->used = card.total - card.free;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, process_t *processes) {
    char line[256];
    unsigned int room = *count, found = 0, index, pid;
    unsigned long long bytes;
    FILE *file = open_file();
    if (!file) return UNKNOWN;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "process %u %u %llu", &index, &pid, &bytes) != 3 || (intptr_t)handle != (intptr_t)index + 1)
            continue;
        if (processes && found < room) {
            memset(&processes[found], 0, sizeof *processes);
            processes[found].pid = pid;
            processes[found].bytes = bytes;
        }
        found++;
    }
    fclose(file);
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
