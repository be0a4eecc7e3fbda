/*
 * A syslog(3) that writes its priority and its text into the file that SYSLOG_FILE names: which facility a line has is
 * not seen anywhere else. Loaded before the C library, for tests/scripting.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void tell(int priority, const char *format, va_list arguments)
{
	static int file = -1;
	char line[8192];
	int len = snprintf(line, sizeof(line), "%d ", priority);

	len += vsnprintf(line + len, sizeof(line) - len, format, arguments);
	if(len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	if(line[len - 1] != '\n' && len < (int)sizeof(line) - 1)
		line[len++] = '\n';
	/* The server closes what it does not know when it begins: opened with the first line after that. */
	if(file < 0 || write(file, line, len) < 0) {
		file = open(getenv("SYSLOG_FILE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
		if(file < 0 || write(file, line, len) < 0)
			abort();
	}
}

void syslog(int priority, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tell(priority, format, arguments);
	va_end(arguments);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tell(priority, format, arguments);
	va_end(arguments);
}
