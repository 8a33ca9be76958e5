// Requests to the exchange, at this page's own address.

import { token } from "./session";
import type { Problem, RequestAnswer } from "./bodies";

const READ_MS = 8_000;
const WRITE_MS = 20_000;

/** Why there is no answer: the exchange's own words (RFC 9457), or that nobody answers. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    detail: string,
    /** It may have had an effect: send the very same again. */
    readonly unknown: boolean,
  ) {
    super(detail);
  }
}

export interface Asking {
  body?: unknown;
  /** Repeating a request under the same id is harmless. */
  id?: string;
  /** Milliseconds to wait for the answer. */
  patience?: number;
}

/** The answer's body. Throws Refused. */
export async function ask<T>(method: string, path: string, asking: Asking = {}): Promise<T> {
  const headers: Record<string, string> = {};
  const whose = token();
  if (whose) headers["Authorization"] = `Bearer ${whose}`;
  if (asking.body !== undefined) headers["Content-Type"] = "application/json";
  if (asking.id) headers["Idempotency-Key"] = asking.id;
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(path, {
      method, headers, cache: "no-store", credentials: "omit", redirect: "error",
      signal: AbortSignal.timeout(asking.patience ?? (method === "GET" ? READ_MS : WRITE_MS)),
      ...(asking.body === undefined ? {} : { body: JSON.stringify(asking.body) }),
    });
    text = await answer.text();
  } catch {
    throw new Refused("unreachable", 0, "The exchange does not answer.", method !== "GET");
  }
  // What was asked for somebody who has left meanwhile is not shown to whoever came.
  if (whose !== token()) throw new Refused("signed_out", 0, "Somebody else is signed in by now.", method !== "GET");
  if (answer.ok) return JSON.parse(text) as T;
  throw refusal(answer.status, text);
}

/** A request to settlement, followed until its outcome is known. Throws Refused. */
export async function settle(method: string, path: string, body: unknown, id: string): Promise<RequestAnswer> {
  let answer = await ask<RequestAnswer>(method, path, { body, id });
  for (let tries = 0; answer.state === "pending" && tries < 30; tries++) {
    await new Promise((go) => setTimeout(go, 1_000));
    answer = await ask<RequestAnswer>("GET", `/v1/requests/${encodeURIComponent(id)}`);
  }
  if (answer.state === "done") return answer;
  const detail = String(answer.outcome["detail"] ?? "The outcome is not known yet: press again, nothing is done twice.");
  throw new Refused(String(answer.outcome["code"] ?? "pending"), 0, detail, answer.state === "pending");
}

function refusal(status: number, text: string): Refused {
  try {
    const problem = JSON.parse(text) as Problem;
    return new Refused(problem.code, status, sentence(problem.detail || problem.title), problem.outcome === "unknown");
  } catch {
    return new Refused("unreadable", status, `The exchange answered ${status} and nothing that can be read.`, status >= 500);
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** What to tell of anything that was thrown. A fault of this page's own goes on to the console. */
export function reason(error: unknown): string {
  if (error instanceof Refused) return error.message;
  throw error;
}

/** An id that nobody else has. */
export function freshId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
