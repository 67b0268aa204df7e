// JSON-RPC over one WebSocket that comes back by itself. What always holds: calls made by the app go out only after the greeting
// (session resumed, feed reopened) of the current socket; a call that was under way when the socket broke is sent again on the
// next one, so every write must carry `idem`. The back-off is jittered, so that a restarted server is not met by all at once.

export class RpcError extends Error {
  code: number;
  data: Record<string, unknown> | undefined;
  constructor(code: number, message: string, data?: Record<string, unknown>) {
    super(message);
    this.code = code;
    this.data = data;
  }
}
/** No answer because there is no connection. Not from the server. */
export const OFFLINE = 0;

export type LinkState = 'connecting' | 'open' | 'offline';
export interface Hooks {
  greet(): Promise<void>;
  notice(method: string, params: Record<string, unknown>): void;
  state(state: LinkState): void;
}

interface Call {
  id: number;
  method: string;
  params: unknown;
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer?: ReturnType<typeof setTimeout> | undefined;
}

const FIRST_WAIT = 400;
const LONGEST_WAIT = 20_000;
const QUIET = 40_000; // silence after which the server is asked whether it is there
const NO_ANSWER = 12_000;

/** Wait before attempt n (from 0): half fixed, half by chance. */
export function backoff(attempt: number, chance: () => number = Math.random): number {
  const full = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempt);
  return full / 2 + (full / 2) * chance();
}

export class Link {
  private socket: WebSocket | null = null;
  private ready = false;
  private lastId = 0;
  private attempt = 0;
  private heard = 0;
  private again: ReturnType<typeof setTimeout> | undefined;
  private calls = new Map<number, Call>(); // sent, or to be sent when ready
  private url: string;
  private hooks: Hooks;

  constructor(url: string, hooks: Hooks) {
    this.url = url;
    this.hooks = hooks;
  }

  start(): void {
    addEventListener('online', () => this.now());
    addEventListener('offline', () => this.lost(this.socket));
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.now();
    });
    setInterval(() => this.watch(), 5000);
    this.connect();
  }

  /** Calls wait for the connection; without one, or without an answer in time, they fail with OFFLINE. */
  call(method: string, params: unknown = {}, patience?: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call: Call = { id: ++this.lastId, method, params, resolve, reject };
      this.calls.set(call.id, call);
      if (this.ready) this.put(call);
      this.limit(call, patience);
    });
  }

  /** For the greeting: goes out at once on this socket, and fails with it. */
  direct(method: string, params: unknown = {}): Promise<unknown> {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return Promise.reject(new RpcError(OFFLINE, 'offline'));
    return new Promise((resolve, reject) => {
      const id = -++this.lastId;
      const call: Call = { id, method, params, resolve, reject };
      this.calls.set(id, call);
      this.limit(call);
      this.put(call);
    });
  }

  private limit(call: Call, patience = 30_000): void {
    call.timer = setTimeout(() => {
      if (!this.calls.delete(call.id)) return;
      call.reject(new RpcError(OFFLINE, 'no answer'));
      if (this.ready && Date.now() - this.heard > NO_ANSWER) this.lost(this.socket);
    }, patience);
  }

  private put(call: Call): void {
    this.socket?.send(JSON.stringify({ jsonrpc: '2.0', id: call.id, method: call.method, params: call.params }));
  }

  private connect(): void {
    clearTimeout(this.again);
    if (!navigator.onLine) return this.hooks.state('offline');
    this.hooks.state(this.attempt > 1 ? 'offline' : 'connecting');
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => void this.opened(socket);
    socket.onmessage = (event) => this.take(socket, String(event.data));
    socket.onclose = () => this.lost(socket);
  }

  private async opened(socket: WebSocket): Promise<void> {
    this.heard = Date.now();
    try {
      await this.hooks.greet();
    } catch {
      if (this.socket === socket) socket.close();
      return;
    }
    if (this.socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    this.attempt = 0;
    this.ready = true;
    this.hooks.state('open');
    for (const call of [...this.calls.values()]) if (call.id > 0) this.put(call);
  }

  private lost(socket: WebSocket | null): void {
    if (!socket || socket !== this.socket) return;
    this.socket = null;
    this.ready = false;
    socket.onclose = null;
    socket.close();
    for (const call of [...this.calls.values()]) {
      if (call.id > 0) continue;
      this.finish(call.id)?.reject(new RpcError(OFFLINE, 'offline'));
    }
    this.hooks.state('offline');
    this.again = setTimeout(() => this.connect(), backoff(this.attempt++));
  }

  /** Try at once: the network came back, or somebody looks at the page again. */
  now(): void {
    if (this.socket) return this.watch();
    this.attempt = 0;
    this.connect();
  }

  private watch(): void {
    if (!this.ready || Date.now() - this.heard < QUIET) return;
    const socket = this.socket;
    this.heard = Date.now();
    const timer = setTimeout(() => this.lost(socket), NO_ANSWER);
    this.direct('server.info').finally(() => clearTimeout(timer)).catch(() => undefined);
  }

  private finish(id: number): Call | undefined {
    const call = this.calls.get(id);
    this.calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }

  private take(socket: WebSocket, text: string): void {
    if (socket !== this.socket) return;
    this.heard = Date.now();
    const message = JSON.parse(text) as {
      id?: number;
      method?: string;
      params?: Record<string, unknown>;
      result?: unknown;
      error?: { code: number; message: string; data?: Record<string, unknown> };
    };
    if (message.method) return this.hooks.notice(message.method, message.params ?? {});
    const call = typeof message.id === 'number' ? this.finish(message.id) : undefined;
    if (!call) return;
    if (message.error) call.reject(new RpcError(message.error.code, message.error.message, message.error.data));
    else call.resolve(message.result);
  }
}
