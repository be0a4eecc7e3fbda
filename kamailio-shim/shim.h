/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One C function for each macro or inline of the host that Rust needs. No decisions here. */
#ifndef KAMAILIO_SHIM_H
#define KAMAILIO_SHIM_H

#include "include/wrapper.h"

/* memory: NULL when exhausted */
void *ksr_shm_malloc(size_t size);
void ksr_shm_free(void *p);
void *ksr_pkg_malloc(size_t size);
void ksr_pkg_free(void *p);

/* whether the allocator is q_malloc */
int ksr_pkg_is_qm(void);
int ksr_shm_is_qm(void);

/* locks: try returns 0 when the lock was taken */
int ksr_lock_init(gen_lock_t *lock);
void ksr_lock_get(gen_lock_t *lock);
int ksr_lock_try(gen_lock_t *lock);
void ksr_lock_release(gen_lock_t *lock);

/* logs */
int ksr_log_enabled(int level);
void ksr_log(int facility, int level, const char *prefix, const char *text, int len);
int ksr_default_facility(void);

/* other modules' interfaces: 0 when bound */
int ksr_load_tm(struct tm_binds *tm);
int ksr_load_sl(sl_api_t *sl);
int ksr_db_has_caps(const db_func_t *dbf, int caps);

/* fields of a parsed message behind casts and bit fields */
event_t *ksr_parsed_event(struct hdr_field *hdr);
exp_body_t *ksr_parsed_expires(struct hdr_field *hdr);
struct to_body *ksr_parsed_to(struct hdr_field *hdr);
contact_body_t *ksr_parsed_contact(struct hdr_field *hdr);
struct cseq_body *ksr_parsed_cseq(struct hdr_field *hdr);
long ksr_content_length(struct sip_msg *msg);
int ksr_content_type(struct sip_msg *msg);
char *ksr_body(struct sip_msg *msg);
unsigned int ksr_event_sla(const event_t *event);
int ksr_transport(const struct sip_msg *msg);
int ksr_reply_status(const struct sip_msg *msg);
str ksr_tm_request_buffer(struct cell *t);
int ksr_tm_reply_status(const struct cell *t);
int ksr_tm_is_transaction(const struct cell *t);
int ksr_parse_all_headers(struct sip_msg *msg);
int ksr_add_reply_headers(struct sip_msg *msg, char *lines, int len);

/* connections: whether one is there, by the host's number for it */
int ksr_connection_exists(int id);
int ksr_connection(const struct sip_msg *msg);

/* requests without tm: 0 when sent; a Via header field in pkg memory */
void ksr_force_socket(struct dest_info *to);
int ksr_send(struct dest_info *to, char *message, unsigned int len);
char *ksr_via(struct dest_info *to, str *branch, unsigned int *len);
/* what would miss them: tm's event_callback, an onsend_route; whether tm is asked about replies before this module */
int ksr_tm_event_callback(void);
int ksr_onsend_route_is_set(void);
int ksr_tm_answers_first(void);

/* script and processes */
int ksr_event_route_is_set(int index);
void ksr_run_event_route(int index, struct sip_msg *msg);
unsigned int ksr_hash_case(const str *a, const str *b);

#endif
