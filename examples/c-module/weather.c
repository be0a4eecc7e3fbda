/*
 * An event package of one's own: "weather".
 *
 * Stations publish what they see at a place, one "name: value" line each, and whoever subscribes to the place gets
 * the reports of all its stations:
 *
 *     station: harbour
 *     temperature: 21
 *     sky: clear
 *
 * The module registers the package with presence (bind_presence, add_event) and gives it three functions:
 * check_report looks at a PUBLISH before it is taken, combine_reports makes one document of several, and
 * free_document frees what that made.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/parser/parse_content.h"
#include "core/trim.h"
#include "core/ut.h"
#include "modules/presence/bind_presence.h"
#include "modules/sl/sl.h"

MODULE_VERSION

#define CONTENT_TYPE "text/plain"
#define LONGEST_REPORT 1024

static int default_expires = 3600;
static sl_api_t slb;

static int mod_init(void);

static param_export_t params[] = {
	{"default_expires", PARAM_INT, &default_expires},
	{0, 0, 0}
};

struct module_exports exports = {
	"weather",
	DEFAULT_DLFLAGS,
	0,        /* functions for routes */
	params,
	0,        /* RPC commands */
	0,        /* pseudo-variables */
	0,        /* replies */
	mod_init,
	0,        /* each process */
	0         /* the end */
};

/* The body of a request; 0 if there is none. It is not terminated. */
static int body_of(struct sip_msg *msg, str *body)
{
	body->s = get_body(msg);
	if(body->s == NULL)
		return 0;
	/* Over UDP the header field may be missing: the body then ends with the datagram. */
	body->len = msg->content_length ? (int)get_content_length(msg) : (int)(msg->buf + msg->len - body->s);
	return body->len > 0;
}

/* Takes the next line off the text, without its end. 0 when there is none. */
static int next_line(str *text, str *line)
{
	char *end;

	if(text->len <= 0)
		return 0;
	end = memchr(text->s, '\n', text->len);
	line->s = text->s;
	line->len = end ? (int)(end - text->s) : text->len;
	text->s += line->len + (end != NULL);
	text->len -= line->len + (end != NULL);
	if(line->len > 0 && line->s[line->len - 1] == '\r')
		line->len--;
	return 1;
}

/* The value behind "name:" in a line. 0 if this is another line. */
static int value_of(const str *line, const char *name, str *value)
{
	int len = strlen(name);

	if(line->len <= len || strncasecmp(line->s, name, len) != 0 || line->s[len] != ':')
		return 0;
	value->s = line->s + len + 1;
	value->len = line->len - len - 1;
	trim(value);
	return 1;
}

/* Why a report cannot be taken; NULL if it can. */
static const char *fault_of(str report)
{
	str line, value;
	int temperature, stations = 0, temperatures = 0;

	if(report.len > LONGEST_REPORT)
		return "Report too long";
	while(next_line(&report, &line)) {
		if(line.len == 0)
			continue;
		if(memchr(line.s, ':', line.len) == NULL)
			return "Line without a colon";
		if(value_of(&line, "station", &value))
			stations += value.len > 0;
		if(value_of(&line, "temperature", &value)) {
			if(str2sint(&value, &temperature) < 0 || temperature < -90 || temperature > 60)
				return "Temperature out of range";
			temperatures++;
		}
	}
	if(stations != 1)
		return "Not one station";
	return temperatures == 1 ? NULL : "Not one temperature";
}

/* evs_publ_handl: looks at a PUBLISH before it is taken. Below zero refuses; the reply is then ours to send. */
static int check_report(struct sip_msg *msg)
{
	str body, reason;
	const char *fault;

	/* A refresh or a removal has no body. */
	if(!body_of(msg, &body))
		return 1;
	fault = fault_of(body);
	if(fault == NULL)
		return 1;
	LM_INFO("a report is refused: %s\n", fault);
	reason.s = (char *)fault;
	reason.len = strlen(fault);
	if(slb.freply(msg, 400, &reason) < 0)
		LM_ERR("the reply could not be sent\n");
	return -1;
}

/* A document of up to len bytes, in private memory as presence expects it. */
static str *new_document(int len)
{
	str *document = pkg_malloc(sizeof(str));

	if(document == NULL) {
		PKG_MEM_ERROR;
		return NULL;
	}
	document->s = pkg_malloc(len + 1);
	document->len = 0;
	if(document->s == NULL) {
		PKG_MEM_ERROR;
		pkg_free(document);
		return NULL;
	}
	return document;
}

static void append(str *document, const char *text, int len)
{
	memcpy(document->s + document->len, text, len);
	document->len += len;
	document->s[document->len] = '\0';
}

/*
 * agg_nbody: makes one document of the n reports about a place, with an empty line between them. The report at
 * gone_index has just been removed (none if below zero). NULL says that there is nothing to tell.
 */
static str *combine_reports(str *place, str *domain, str **reports, int n, int gone_index)
{
	int i, len = 0;
	str *document;

	for(i = 0; i < n; i++)
		if(i != gone_index)
			len += reports[i]->len + CRLF_LEN;
	if(len == 0 || (document = new_document(len)) == NULL)
		return NULL;
	for(i = 0; i < n; i++) {
		if(i == gone_index)
			continue;
		if(document->len > 0)
			append(document, CRLF, CRLF_LEN);
		append(document, reports[i]->s, reports[i]->len);
	}
	LM_DBG("%d reports about %.*s@%.*s\n", n, place->len, place->s, domain->len, domain->s);
	return document;
}

/* free_body: frees the text of a combined document; presence frees the str around it. */
static void free_document(char *text)
{
	pkg_free(text);
}

/* presence copies what it is given: the structure may live here. */
static int add_weather(presence_api_t *presence)
{
	pres_ev_t event;

	memset(&event, 0, sizeof(event));
	event.name.s = "weather";
	event.name.len = strlen(event.name.s);
	event.content_type.s = CONTENT_TYPE;
	event.content_type.len = strlen(CONTENT_TYPE);
	event.default_expires = default_expires;
	event.type = PUBL_TYPE;
	event.evs_publ_handl = check_report;
	event.agg_nbody = combine_reports;
	event.free_body = free_document;
	return presence->add_event(&event);
}

static int mod_init(void)
{
	presence_api_t presence;

	if(default_expires < 1) {
		LM_ERR("modparam default_expires is %d: it must be 1 or more\n", default_expires);
		return -1;
	}
	if(sl_load_api(&slb) < 0) {
		LM_ERR("module sl is not loaded before weather\n");
		return -1;
	}
	if(presence_load_api(&presence) < 0) {
		LM_ERR("module presence is not loaded before weather\n");
		return -1;
	}
	if(add_weather(&presence) < 0) {
		LM_ERR("the package could not be registered\n");
		return -1;
	}
	return 0;
}
