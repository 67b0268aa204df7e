// What server and worker say to each other over their socket pair. Frame: u32 length of what follows, u8
// kind, u32 call, fields as base/wire.h writes them. The server checks every frame as if an enemy had written
// it: a frame it cannot read ends the worker. A worker works through calls one after the other, in the order
// they came.
#pragma once
#include <stdint.h>

#define HM_FRAME_MAX (64u << 20)
#define HM_WORKER_FD 3 // the worker's end of the socket pair

enum hm_frame {
    // server -> worker
    HM_F_INIT =
        1,     // str json: {"institution","plugin_dir","zone_minutes":300,"languages":[…],"run_tests":bool,
               //   "candidates":[{"kind","id","source","note"}],   sources to use instead of the stored ones
               //   (deploy, check; with "remove":true instead of a source: as if it were not stored)
               //   "base":[{"kind","id","source","note"}]   the cluster's layer, as this institution has it
               //   "without":[{"kind","id","layer"}]   left out, since they do not load
               //   "tests":[{"kind","id"}]   whose tests are run beside the candidates'
               //   "limits":{"cpu_ms","memory_bytes","output_bytes","log_lines"}}
    HM_F_CALL, // str method, str params (JSON), str caller (JSON, below), u64 time_ms, str seed (32 bytes),
               //   u32 cpu_ms, u64 memory_bytes, u8 flags
    HM_F_UNSEALED, // u8 HM_UNSEALED_*, str JSON value or message
    // worker -> server
    HM_F_READY = 16, // str catalogue (JSON, below)
    HM_F_REFUSED, // str JSON array of {"plugin","file","line","message",kind?,id?,layer?,path?}: it could not
                  // load (or its tests failed); then exits
    HM_F_RESULT,  // str result (JSON), u64 snapshot seq, u8 flags, u32 n × seen, u32 n × intent
    HM_F_ERROR,   // u32 code (two's complement), str message, str data (JSON object)
    HM_F_UNSEAL,  // str type, str id, str field, str why: the worker waits for HM_F_UNSEALED
    HM_F_PROGRESS, // f64 0..1, str note
    HM_F_LOG,      // u8 level, str plugin, str version, str text
};
// flags of HM_F_CALL
#define HM_CALL_JOB_RUN 1u  // the long, read-only part of a job
#define HM_CALL_JOB_DONE 2u // the short part: params are {"params":…,"result":…}
#define HM_CALL_DRY 4u      // try: intents are reported in the result, not meant to be committed
// seen:   u8 space (0xff = point); point: str type, str id, u64 version; range: str low, str high (hm_space
// keys) intent: u8 remove, str type, str id, u64 expect, str data (JSON), str audience (packed), str members
// (packed)
//
// caller:
// {"person":id|null,"login","roles":[…],"principals":[…],"locale":"uz","admin":bool,"local":bool,"method_by":text}
//   local: full rights. True only for the control socket (whoever opens it holds the data folder) and for the
//   system's own calls; never because the caller's address is this machine's, which may be a proxy's.
//
// catalogue: {"plugins":[{"kind","id","title","version","layer","file","hash"}],
//   "types":[… as store/types.h, plus "plugin","schema"],
//   "methods":[{"name","plugin","summary":text|{lang:text},"params":JSON schema,"result":JSON schema,
//               "access":"public"|"signed_in"|"role","roles":[…],"job":bool,"writes":bool}],
//   "reactions":[{"event":"pair.created","plugin"}], "every":[{"cron","plugin"}]}
// Method names starting with '$' are the host's own:
//   "$react"  params {"change":{seq,time,by,method,action,type,id,record}}: runs the reactions to it
//   "$every"  params {"plugin","cron","due"}
//   "$plugins" params {"kind"?,"id"?}: sources and declarations for plugin.get; with an id, "layers"
//              [{"layer","version","source"}], the lowest first
//   "$shape" params {"type", "after"?: id, or "ids"?, "dry"?, "keep"?}: looks whether stored records fit what
//   the plugins
//            declare, upgraded if need be. Gives {"looked","last":id,"more",
//            "changes":[{"what","field","records","example":id}], and unless dry "items":[{"id","data"}]:
//            those whose data is another then}

// What HM_F_UNSEALED says first. ABSENT is also told of a record that the caller may not read.
enum hm_unsealed { HM_UNSEALED_NOT, HM_UNSEALED_OK, HM_UNSEALED_ABSENT };
