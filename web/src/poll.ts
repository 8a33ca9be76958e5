// Asking again and again, and never while nobody looks.

/** Runs a task at once and then every so often, one at a time, from `start` to `stop`; not while the tab is hidden. */
export class Poll {
  #timer: ReturnType<typeof setTimeout> | null = null;
  #running = false;
  #busy = false;

  constructor(private readonly everyMs: number, private readonly task: () => Promise<void>) {
    document.addEventListener("visibilitychange", () => {
      if (this.#running && !document.hidden) this.now();
    });
  }

  start(): void {
    this.#running = true;
    this.now();
  }

  stop(): void {
    this.#running = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Out of turn, unless the task runs just now. */
  now(): void {
    if (!this.#busy) void this.#turn();
  }

  async #turn(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#busy = true;
    try {
      if (!document.hidden) await this.task();
    } finally {
      this.#busy = false;
      if (this.#running) this.#timer = setTimeout(() => void this.#turn(), this.everyMs);
    }
  }
}
