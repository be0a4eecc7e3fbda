/* Loaded first (LD_PRELOAD): ends a process with SIGKILL in the middle of presence.so, while it holds one of its locks, in
 * the n-th copy, comparison or allocation. Which process and which n stands in the file that INSIDE names, which all
 * processes share; INSIDE_HELD is the place of the module's count of the locks that it holds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
	_Atomic uint64_t pid;
	_Atomic uint64_t left;
	_Atomic uint64_t killed;
};

static struct plan *plan;
static uintptr_t held_at, begin, end;

__attribute__((constructor)) static void read_plan(void)
{
	const char *name = getenv("INSIDE"), *held = getenv("INSIDE_HELD");
	int file = name && held ? open(name, O_RDWR) : -1;
	if(file < 0)
		return;
	void *shared = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	held_at = strtoull(held, NULL, 16);
	if(shared != MAP_FAILED)
		plan = shared;
}

static int find_module(struct dl_phdr_info *info, size_t size, void *unused)
{
	size_t length = strlen(info->dlpi_name);
	(void)size;
	(void)unused;
	if(length < 12 || strcmp(info->dlpi_name + length - 12, "/presence.so"))
		return 0;
	for(int i = 0; i < info->dlpi_phnum; i++)
		if(info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			end = begin + info->dlpi_phdr[i].p_memsz;
			held_at += info->dlpi_addr;
		}
	return 1;
}

static void pass(void *caller)
{
	if(!plan || !plan->pid || plan->pid != (uint64_t)getpid())
		return;
	if(!begin)
		dl_iterate_phdr(find_module, NULL);
	if((uintptr_t)caller < begin || (uintptr_t)caller >= end || !*(volatile uint32_t *)held_at)
		return;
	if(plan->left-- == 1) {
		plan->killed = plan->pid;
		kill(getpid(), SIGKILL);
	}
}

#define CALLER __builtin_return_address(0)

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
	pass(CALLER);
	for(size_t i = 0; i < length; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

int bcmp(const void *a, const void *b, size_t length)
{
	pass(CALLER);
	for(size_t i = 0; i < length; i++)
		if(((const char *)a)[i] != ((const char *)b)[i])
			return 1;
	return 0;
}

extern void *__libc_malloc(size_t length);

void *malloc(size_t length)
{
	pass(CALLER);
	return __libc_malloc(length);
}
