import { appendFileSync } from 'node:fs'

/** What the launcher did besides starting and stopping: one JSON line each, in a file, since its terminal shows steps and addresses. */
export class EventLog {
  constructor(readonly path: string) {}

  write(message: string, details: Readonly<Record<string, unknown>> = {}): void {
    appendFileSync(
      this.path,
      `${JSON.stringify({ time: new Date().toISOString(), role: 'launcher', msg: message, ...details })}\n`,
      {
        mode: 0o600,
      },
    )
  }
}
