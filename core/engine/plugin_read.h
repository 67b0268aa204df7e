// The methods of plugin.* that change nothing (plugin_read.c).
#pragma once
struct call;
void hm_plugin_list(struct call *call);
void hm_plugin_get(struct call *call);
void hm_plugin_history(struct call *call);
void hm_plugin_diff(struct call *call);
void hm_plugin_export(struct call *call);
