/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shim.h"

/* Constants that bindgen cannot evaluate, or that have another name in another version: src/lib.rs states them. */
_Static_assert(PARAM_USE_FUNC == 1u << 31, "src/lib.rs: PARAM_USE_FUNC");
_Static_assert(RET_ARRAY == 1, "src/lib.rs: RPC_ANSWERS_ARRAY");

void *ksr_shm_malloc(size_t size) { return shm_malloc(size); }
void ksr_shm_free(void *p) { shm_free(p); }
void *ksr_pkg_malloc(size_t size) { return pkg_malloc(size); }
void ksr_pkg_free(void *p) { pkg_free(p); }
static int is_qm(const char *name) { return name && strcmp(name, "q_malloc") == 0; }
int ksr_pkg_is_qm(void) { return is_qm(_pkg_root.mname); }
int ksr_shm_is_qm(void) { return is_qm(_shm_root.mname); }

int ksr_lock_init(gen_lock_t *lock) { return lock_init(lock) != 0; }
void ksr_lock_get(gen_lock_t *lock) { lock_get(lock); }
int ksr_lock_try(gen_lock_t *lock) { return lock_try(lock); }
void ksr_lock_release(gen_lock_t *lock) { lock_release(lock); }

int ksr_log_enabled(int level) { return is_printable(level); }
void ksr_log(int facility, int level, const char *prefix, const char *text, int len)
{
	LOG_FX(facility, level, NULL, prefix, NULL, "%.*s\n", len, text);
}
int ksr_default_facility(void) { return DEFAULT_FACILITY; }

int ksr_load_tm(struct tm_binds *tm) { return load_tm_api(tm); }
int ksr_load_sl(sl_api_t *sl) { return sl_load_api(sl); }
int ksr_db_has_caps(const db_func_t *dbf, int caps) { return DB_CAPABILITY(*dbf, caps); }

event_t *ksr_parsed_event(struct hdr_field *hdr) { return (event_t *)hdr->parsed; }
exp_body_t *ksr_parsed_expires(struct hdr_field *hdr) { return (exp_body_t *)hdr->parsed; }
struct to_body *ksr_parsed_to(struct hdr_field *hdr) { return (struct to_body *)hdr->parsed; }
contact_body_t *ksr_parsed_contact(struct hdr_field *hdr) { return (contact_body_t *)hdr->parsed; }
struct cseq_body *ksr_parsed_cseq(struct hdr_field *hdr) { return (struct cseq_body *)hdr->parsed; }
long ksr_content_length(struct sip_msg *msg) { return get_content_length(msg); }
int ksr_content_type(struct sip_msg *msg) { return get_content_type(msg); }
char *ksr_body(struct sip_msg *msg) { return get_body(msg); }
unsigned int ksr_event_sla(const event_t *event)
{
	return event->params.hooks.event_dialog.sla != NULL || event->params.hooks.event_dialog.ma != NULL;
}
int ksr_reply_status(const struct sip_msg *msg)
{
	return msg->first_line.type == SIP_REPLY ? (int)msg->REPLY_STATUS : 0;
}
int ksr_transport(const struct sip_msg *msg) { return msg->rcv.proto; }
str ksr_tm_request_buffer(struct cell *t)
{
	str buffer = {t->uac[0].request.buffer, t->uac[0].request.buffer_len};
	return buffer;
}
int ksr_tm_reply_status(const struct cell *t) { return t->uas.status; }
int ksr_tm_is_transaction(const struct cell *t) { return t != NULL && t != T_UNDEFINED; }
int ksr_parse_all_headers(struct sip_msg *msg) { return parse_headers(msg, HDR_EOH_F, 0); }

int ksr_add_reply_headers(struct sip_msg *msg, char *lines, int len)
{
	return add_lump_rpl(msg, lines, len, LUMP_RPL_HDR) != NULL;
}

/* The binary exports it and no header declares it; the lookups that headers declare take a reference that nobody may give
 * back last. */
extern int tcpconn_exists(int id, ip_addr_t *peer_ip, int peer_port, ip_addr_t *own_ip, int own_port);
int ksr_connection_exists(int id) { return tcpconn_exists(id, NULL, 0, NULL, 0); }
int ksr_connection(const struct sip_msg *msg) { return msg->rcv.proto_reserved1; }

void ksr_force_socket(struct dest_info *to) { to->send_flags.f |= SND_F_FORCE_SOCKET; }
int ksr_send(struct dest_info *to, char *message, unsigned int len) { return msg_send(to, message, (int)len); }
char *ksr_via(struct dest_info *to, str *branch, unsigned int *len)
{
	static str rport = str_init(";rport");
	struct hostport hp;
	set_hostport(&hp, 0);
	return via_builder(len, NULL, to, branch, ksr_local_rport ? &rport : NULL, &hp);
}

int ksr_tm_event_callback(void)
{
	modparam_t type = 0;
	struct sr_module *tm = find_module_by_name("tm");
	str *name = tm ? find_param_export(tm, "event_callback", PARAM_STR, &type) : NULL;
	return name != NULL && name->len > 0;
}
int ksr_onsend_route_is_set(void) { return onsend_rt.rlist[DEFAULT_RT] != NULL; }
/* The host asks the module that was loaded last first. */
int ksr_tm_answers_first(void)
{
	struct sr_module *m;
	for (m = modules; m; m = m->next) {
		if (strcmp(m->exports.name, MOD_NAME) == 0)
			return 0;
		if (strcmp(m->exports.name, "tm") == 0)
			return 1;
	}
	return 1;
}

int ksr_event_route_is_set(int index) { return event_rt.rlist[index] != NULL; }
void ksr_run_event_route(int index, struct sip_msg *msg) { run_top_route(event_rt.rlist[index], msg, NULL); }
unsigned int ksr_hash_case(const str *a, const str *b) { return core_case_hash(a, b, 0); }
