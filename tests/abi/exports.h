/*
 * caller.exports: what a loaded module offers, as the running server sees it. A line for each thing:
 *
 *     function NAME PARAMETERS       script function; PARAMETERS is a number, "any", or "C" for other modules only
 *     param NAME TYPE[ function]     modparam; TYPE is int, string, str or var; "function" if one is called with it
 *     kemi NAME TYPES                KEMI function; TYPES is a letter for each parameter: i, s; "-" without
 *     rpc NAME                       RPC command with the module's name before the dot
 *     pv NAME                        class of pseudo-variables
 */
#ifndef CALLER_EXPORTS_H
#define CALLER_EXPORTS_H

#include <stdio.h>
#include <string.h>

#include "core/kemi.h"
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "core/sr_module.h"

static void list_functions(rpc_t *rpc, void *ctx, ksr_cmd_export_t *entry)
{
	for(; entry && entry->name; entry++) {
		if(entry->flags == 0)
			rpc->rpl_printf(ctx, "function %s C", entry->name);
		else if(entry->param_no == VAR_PARAM_NO)
			rpc->rpl_printf(ctx, "function %s any", entry->name);
		else
			rpc->rpl_printf(ctx, "function %s %d", entry->name, entry->param_no);
	}
}

static const char *type_of(modparam_t type)
{
	switch(PARAM_TYPE_MASK(type)) {
		case PARAM_STRING:
			return "string";
		case PARAM_INT:
			return "int";
		case PARAM_STR:
			return "str";
		case PARAM_VAR:
			return "var";
	}
	return "other";
}

static void list_params(rpc_t *rpc, void *ctx, param_export_t *entry)
{
	for(; entry && entry->name; entry++)
		rpc->rpl_printf(ctx, "param %s %s%s", entry->name, type_of(entry->type),
				(entry->type & PARAM_USE_FUNC) ? " function" : "");
}

static void list_kemi(rpc_t *rpc, void *ctx, str *module)
{
	sr_kemi_module_t *modules = sr_kemi_modules_get();
	sr_kemi_t *entry;
	char types[SR_KEMI_PARAMS_MAX + 1];
	int i, n;

	for(i = 0; i < sr_kemi_modules_size_get(); i++) {
		if(modules[i].mname.len != module->len || memcmp(modules[i].mname.s, module->s, module->len) != 0)
			continue;
		for(entry = modules[i].kexp; entry->fname.s; entry++) {
			for(n = 0; n < SR_KEMI_PARAMS_MAX && entry->ptypes[n] != SR_KEMIP_NONE; n++)
				types[n] = entry->ptypes[n] == SR_KEMIP_INT ? 'i' : entry->ptypes[n] == SR_KEMIP_STR ? 's' : '?';
			types[n] = '\0';
			rpc->rpl_printf(ctx, "kemi %.*s %s", entry->fname.len, entry->fname.s, n ? types : "-");
		}
	}
}

static void list_rpcs(rpc_t *rpc, void *ctx, str *module)
{
	int i;

	for(i = 0; i < rpc_sarray_crt_size; i++) {
		/* In later versions of the host the first member of a larger structure. */
		const char *name = ((rpc_export_t *)rpc_sarray[i])->name;

		if(strncmp(name, module->s, module->len) == 0 && name[module->len] == '.')
			rpc->rpl_printf(ctx, "rpc %s", name);
	}
}

static void rpc_exports(rpc_t *rpc, void *ctx)
{
	char name[64];
	str given;
	sr_module_t *module;
	pv_export_t *pv;

	if(rpc->scan(ctx, "S", &given) < 1 || given.len >= (int)sizeof(name)) {
		rpc->fault(ctx, 400, "The name of a module is needed");
		return;
	}
	memcpy(name, given.s, given.len);
	name[given.len] = '\0';
	module = find_module_by_name(name);
	if(module == NULL) {
		rpc->fault(ctx, 404, "No such module");
		return;
	}
	list_functions(rpc, ctx, module->exports.cmds);
	list_params(rpc, ctx, module->exports.params);
	list_kemi(rpc, ctx, &given);
	list_rpcs(rpc, ctx, &given);
	for(pv = module->exports.pv_items; pv && pv->name.s; pv++)
		rpc->rpl_printf(ctx, "pv %.*s", pv->name.len, pv->name.s);
}

#endif
