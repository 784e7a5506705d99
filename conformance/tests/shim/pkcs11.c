/* A PKCS #11 library that forwards to SoftHSM and fails where it is told to.
 *
 * Beside the library, whatever it is called, are
 *   NAME.plan   lines "FUNCTION CALL ACTION [NUMBER]": the CALL-th call of FUNCTION from now on (0: each)
 *               fail NUMBER    is not forwarded, and answers NUMBER
 *               hang NUMBER    sleeps for NUMBER milliseconds first
 *               xor            is forwarded, and the last byte of what it gives is altered
 *   NAME.log    the functions that were called, one a line
 * A plan that is written anew counts calls from 1 again.
 *
 * Arguments and answers are machine words; those that a function does not have are passed all the same.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)(word, word, word, word, word, word, word, word);

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"
#define GENERAL_ERROR 5

/* In the order of CK_FUNCTION_LIST, PKCS #11 2.40. */
#define FUNCTIONS(X) \
    X(C_Initialize) X(C_Finalize) X(C_GetInfo) X(C_GetFunctionList) X(C_GetSlotList) \
    X(C_GetSlotInfo) X(C_GetTokenInfo) X(C_GetMechanismList) X(C_GetMechanismInfo) \
    X(C_InitToken) X(C_InitPIN) X(C_SetPIN) X(C_OpenSession) X(C_CloseSession) \
    X(C_CloseAllSessions) X(C_GetSessionInfo) X(C_GetOperationState) X(C_SetOperationState) \
    X(C_Login) X(C_Logout) X(C_CreateObject) X(C_CopyObject) X(C_DestroyObject) \
    X(C_GetObjectSize) X(C_GetAttributeValue) X(C_SetAttributeValue) X(C_FindObjectsInit) \
    X(C_FindObjects) X(C_FindObjectsFinal) X(C_EncryptInit) X(C_Encrypt) X(C_EncryptUpdate) \
    X(C_EncryptFinal) X(C_DecryptInit) X(C_Decrypt) X(C_DecryptUpdate) X(C_DecryptFinal) \
    X(C_DigestInit) X(C_Digest) X(C_DigestUpdate) X(C_DigestKey) X(C_DigestFinal) X(C_SignInit) \
    X(C_Sign) X(C_SignUpdate) X(C_SignFinal) X(C_SignRecoverInit) X(C_SignRecover) \
    X(C_VerifyInit) X(C_Verify) X(C_VerifyUpdate) X(C_VerifyFinal) X(C_VerifyRecoverInit) \
    X(C_VerifyRecover) X(C_DigestEncryptUpdate) X(C_DecryptDigestUpdate) X(C_SignEncryptUpdate) \
    X(C_DecryptVerifyUpdate) X(C_GenerateKey) X(C_GenerateKeyPair) X(C_WrapKey) X(C_UnwrapKey) \
    X(C_DeriveKey) X(C_SeedRandom) X(C_GenerateRandom) X(C_GetFunctionStatus) \
    X(C_CancelFunction) X(C_WaitForSlotEvent)

#define NUMBER(name) I_##name,
enum { FUNCTIONS(NUMBER) COUNT };
#define NAME(name) #name,
static const char *names[] = { FUNCTIONS(NAME) };

struct list {
    unsigned char version[2];
    function functions[COUNT];
};

static struct list *real;
static struct list ours;
static char path[4096];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long calls[COUNT];
static struct timespec plan_of;
static ino_t plan_file;

/* What the plan says of this call. */
static void planned(int which, char *action, word *number) {
    char name[4200], line[256], function_name[64], what[16];
    struct stat found;
    *action = 0;
    pthread_mutex_lock(&lock);
    snprintf(name, sizeof name, "%s.log", path);
    FILE *log = fopen(name, "a");
    if (log) {
        fprintf(log, "%s\n", names[which]);
        fclose(log);
    }
    snprintf(name, sizeof name, "%s.plan", path);
    FILE *plan = fopen(name, "r");
    if (plan) {
        if (fstat(fileno(plan), &found) == 0 &&
            (found.st_ino != plan_file || memcmp(&found.st_mtim, &plan_of, sizeof plan_of) != 0)) {
            plan_file = found.st_ino;
            plan_of = found.st_mtim;
            memset(calls, 0, sizeof calls);
        }
        calls[which]++;
        while (fgets(line, sizeof line, plan)) {
            unsigned long call, value = 0;
            if (sscanf(line, "%63s %lu %15s %lu", function_name, &call, what, &value) < 3) continue;
            if (strcmp(function_name, names[which]) != 0) continue;
            if (call == 0 || call == calls[which]) {
                *action = what[0];
                *number = value;
            }
        }
        fclose(plan);
    }
    pthread_mutex_unlock(&lock);
}

static word forward(int which, word a, word b, word c, word d, word e, word f, word g, word h) {
    char action;
    word number = 0;
    planned(which, &action, &number);
    if (action == 'f' && number != 0) return number;
    if (action == 'h') usleep(number * 1000);
    word answer = real->functions[which](a, b, c, d, e, f, g, h);
    /* session, in, its length, out, its length */
    int gives_bytes = which == I_C_Encrypt || which == I_C_Decrypt;
    if (action == 'x' && gives_bytes && answer == 0 && d != 0 && *(word *)e > 0)
        ((unsigned char *)d)[*(word *)e - 1] ^= 1;
    return answer;
}

#define WRAPPER(name)                                                                      \
    static word w_##name(word a, word b, word c, word d, word e, word f, word g, word h) { \
        return forward(I_##name, a, b, c, d, e, f, g, h);                                  \
    }
FUNCTIONS(WRAPPER)

word C_GetFunctionList(struct list **out) {
    Dl_info self;
    if (!real) {
        void *library = dlopen(SOFTHSM, RTLD_NOW);
        word (*get)(struct list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
        if (!get || get(&real) != 0) return GENERAL_ERROR;
        if (!dladdr((void *)C_GetFunctionList, &self)) return GENERAL_ERROR;
        snprintf(path, sizeof path, "%s", self.dli_fname);
        memcpy(ours.version, real->version, sizeof ours.version);
#define SET(name) ours.functions[I_##name] = w_##name;
        FUNCTIONS(SET)
    }
    *out = &ours;
    return 0;
}
