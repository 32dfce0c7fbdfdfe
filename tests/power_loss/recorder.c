/* Records what a process does to the files of one folder, in the order in which it happens.

   Preloaded (LD_PRELOAD) with RECORD_ROOT, the folder, and RECORD_LOG, the log, which all processes append to. What is
   under RECORD_SKIP is left out. A record is written after the call it tells of, and before the caller goes on: what
   the caller does next comes later in the log. Memory that is mapped from files is not seen; the databases map only
   their -shm, which nothing durable rests on.

   A record: op (1 byte), three numbers of 8 bytes (inode, offset, flags), three lengths of 4 bytes, then two paths and
   the data. All little-endian, as the machine that runs it is. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPENED = 1, WRITTEN, TRUNCATED, SYNCED, RENAMED, UNLINKED, MADE, REMOVED };
enum { MOST_FILES = 4096, LOG_NUMBER = 1000 };

static char root[PATH_MAX], skipped[PATH_MAX];
static size_t root_length, skipped_length;
static int log_file = -1;
static unsigned char tracked[MOST_FILES];

#define REAL(type, name, ...)                                                  \
  static type (*real)(__VA_ARGS__);                                            \
  if (!real) real = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("RECORD_ROOT"), *log = getenv("RECORD_LOG"), *skip = getenv("RECORD_SKIP");
  if (!folder || !log) return;
  snprintf(root, sizeof root, "%s/", folder);
  root_length = strlen(root);
  if (skip) snprintf(skipped, sizeof skipped, "%s", skip);
  skipped_length = strlen(skipped);
  int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int (*real_close)(int) = dlsym(RTLD_NEXT, "close");
  int number = real_open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (number < 0) return;
  log_file = fcntl(number, F_DUPFD_CLOEXEC, LOG_NUMBER);
  real_close(number);
}

static int is_ours(const char *path) {
  if (log_file < 0 || !root_length) return 0;
  if (strncmp(path, root, root_length) && (strncmp(path, root, root_length - 1) || path[root_length - 1])) return 0;
  return !skipped_length || strncmp(path, skipped, skipped_length);
}

/* The absolute path of a path that may be relative to a folder; 0 if it is none of ours. */
static int resolve(int folder, const char *path, char *whole) {
  if (log_file < 0) return 0;
  if (path[0] == '/') {
    snprintf(whole, PATH_MAX, "%s", path);
  } else {
    char link[64], base[PATH_MAX];
    ssize_t length;
    if (folder == AT_FDCWD) {
      if (!getcwd(base, sizeof base)) return 0;
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
      length = readlink(link, base, sizeof base - 1);
      if (length < 0) return 0;
      base[length] = 0;
    }
    if (snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
  }
  return is_ours(whole);
}

static void record(int op, uint64_t inode, uint64_t offset, uint64_t flags, const char *path, const char *other,
                   const void *data, size_t size) {
  unsigned char head[37];
  uint32_t lengths[3] = {path ? strlen(path) : 0, other ? strlen(other) : 0, (uint32_t)size};
  uint64_t numbers[3] = {inode, offset, flags};
  head[0] = (unsigned char)op;
  memcpy(head + 1, numbers, 24);
  memcpy(head + 25, lengths, 12);
  struct iovec parts[4] = {{head, sizeof head},
                           {(void *)path, lengths[0]},
                           {(void *)other, lengths[1]},
                           {(void *)data, size}};
  int before = errno;
  ssize_t done = writev(log_file, parts, 4);
  if (done != (ssize_t)(sizeof head + lengths[0] + lengths[1] + size)) abort(); /* a log with a gap proves nothing */
  errno = before;
}

static int known(int file) { return file >= 0 && file < MOST_FILES && tracked[file]; }

static uint64_t inode_of(int file) {
  struct stat found;
  return fstat(file, &found) ? 0 : found.st_ino;
}

static int opened(int file, const char *path, int flags, int created) {
  if (file < 0 || file >= MOST_FILES) return file;
  tracked[file] = 1;
  record(OPENED, inode_of(file), (flags & O_TRUNC) != 0, created, path, 0, 0, 0);
  return file;
}

static int open_any(const char *name, int folder, const char *path, int flags, mode_t mode) {
  int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, name);
  char whole[PATH_MAX];
  if (!resolve(folder, path, whole)) return real(folder, path, flags, mode);
  int created = (flags & O_CREAT) && faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW);
  return opened(real(folder, path, flags, mode), whole, flags, created);
}

#define MODE(flags)                                                            \
  mode_t mode = 0;                                                             \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {                                     \
    va_list rest;                                                              \
    va_start(rest, flags);                                                     \
    mode = va_arg(rest, mode_t);                                               \
    va_end(rest);                                                              \
  }

int open(const char *path, int flags, ...) { MODE(flags) return open_any("openat", AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_any("openat64", AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_any("openat", folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_any("openat64", folder, path, flags, mode); }

int close(int file) {
  REAL(int, "close", int);
  if (file >= 0 && file < MOST_FILES) tracked[file] = 0;
  return real(file);
}

ssize_t write(int file, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  ssize_t done = real(file, data, size);
  if (done > 0 && known(file)) {
    off_t end = lseek(file, 0, SEEK_CUR);
    record(WRITTEN, inode_of(file), (uint64_t)(end - done), 0, 0, 0, data, (size_t)done);
  }
  return done;
}

static ssize_t written_at(int file, const void *data, ssize_t done, off_t offset) {
  if (done > 0 && known(file)) record(WRITTEN, inode_of(file), (uint64_t)offset, 0, 0, 0, data, (size_t)done);
  return done;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
  REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
  return written_at(file, data, real(file, data, size, offset), offset);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  return written_at(file, data, real(file, data, size, offset), offset);
}

/* Nothing here writes a file of the folder in these ways; if something comes to, the recording says so. */
static void unexpected(int file, const char *what) {
  if (!known(file)) return;
  fprintf(stderr, "recorder: %s is not recorded\n", what);
  abort();
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  unexpected(file, "writev");
  return real(file, parts, count);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
  REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
  unexpected(out, "sendfile");
  return real(out, in, offset, size);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
  REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
  unexpected(out, "copy_file_range");
  return real(in, from, out, to, size, flags);
}

static int truncated(int file, int result, off_t size) {
  if (!result && known(file)) record(TRUNCATED, inode_of(file), (uint64_t)size, 0, 0, 0, 0, 0);
  return result;
}

int ftruncate(int file, off_t size) {
  REAL(int, "ftruncate", int, off_t);
  return truncated(file, real(file, size), size);
}

int ftruncate64(int file, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  return truncated(file, real(file, size), size);
}

static int synced(int file, int result) {
  char link[64], path[PATH_MAX];
  ssize_t length;
  if (result || !known(file)) return result;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return result;
  path[length] = 0;
  record(SYNCED, inode_of(file), 0, 0, path, 0, 0, 0);
  return result;
}

int fsync(int file) {
  REAL(int, "fsync", int);
  return synced(file, real(file));
}

int fdatasync(int file) {
  REAL(int, "fdatasync", int);
  return synced(file, real(file));
}

static int renamed(int result, int from_folder, const char *from, int to_folder, const char *to) {
  char old[PATH_MAX], new[PATH_MAX];
  if (result) return result;
  int ours = resolve(from_folder, from, old), theirs = resolve(to_folder, to, new);
  if (ours || theirs) record(RENAMED, 0, 0, 0, old, new, 0, 0);
  return result;
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  return renamed(real(from, to), AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  REAL(int, "renameat", int, const char *, int, const char *);
  return renamed(real(from_folder, from, to_folder, to), from_folder, from, to_folder, to);
}

static int named(int op, int result, int folder, const char *path) {
  char whole[PATH_MAX];
  if (!result && resolve(folder, path, whole)) record(op, 0, 0, 0, whole, 0, 0, 0);
  return result;
}

int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  return named(UNLINKED, real(path), AT_FDCWD, path);
}

int unlinkat(int folder, const char *path, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  return named(flags & AT_REMOVEDIR ? REMOVED : UNLINKED, real(folder, path, flags), folder, path);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  return named(MADE, real(path, mode), AT_FDCWD, path);
}

int mkdirat(int folder, const char *path, mode_t mode) {
  REAL(int, "mkdirat", int, const char *, mode_t);
  return named(MADE, real(folder, path, mode), folder, path);
}

int rmdir(const char *path) {
  REAL(int, "rmdir", const char *);
  return named(REMOVED, real(path), AT_FDCWD, path);
}
