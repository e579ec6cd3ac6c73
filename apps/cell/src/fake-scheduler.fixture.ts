import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import {
  type CellDesired,
  CellReport,
  type Envelope,
  IngestBatch,
  type NodeIdentity,
  type SeenInstance,
  TellLeftovers,
  type WantedInstance,
} from '@bloomery/contracts'
import { createInternalServer } from '@bloomery/feeds'

/** The scheduler and the log store as a cell sees them: answers what a test wishes, keeps what the cell tells. */
export class FakeScheduler {
  wanted: WantedInstance[] = []
  lines: { source: string; stream: string; text: string; index: string }[] = []
  metrics: Extract<Envelope, { kind: 'metrics' }>[] = []
  report: CellReport | undefined
  leaseToken = '5'
  /** Checksums of droplets that no app has any more. */
  deleted: string[] = []
  leftoversAsked = false
  told: TellLeftovers | undefined
  private revision = 1
  private server: Server | undefined
  private port = 0
  private readonly batches = new Map<string, number>()
  private readonly waiting = new Set<() => void>()

  constructor(
    private readonly scheduler: NodeIdentity,
    private readonly logs: NodeIdentity,
  ) {}
  private logServer: Server | undefined
  private logPort = 0

  get url(): string {
    return `https://127.0.0.1:${this.port}`
  }
  get logsUrl(): string {
    return `https://127.0.0.1:${this.logPort}`
  }

  async open(): Promise<void> {
    this.server = createInternalServer(this.scheduler, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const answer = (value: unknown) => response.writeHead(200).end(JSON.stringify(value))
        const url = new URL(request.url ?? '/', 'https://x')
        const body = (): unknown => JSON.parse(Buffer.concat(chunks).toString())
        if (url.pathname.endsWith('/register')) return answer({ cellId: 'c1', leaseToken: this.leaseToken })
        if (url.pathname.endsWith('/report')) {
          this.report = CellReport.parse(body())
          return answer({ leaseToken: this.leaseToken, leftoversAsked: this.leftoversAsked })
        }
        if (url.pathname.endsWith('/deleted')) return answer({ sha256s: this.deleted })
        if (url.pathname.endsWith('/leftovers')) {
          this.told = TellLeftovers.parse(body())
          return response.writeHead(204).end()
        }
        const send = () => answer(this.document())
        if (url.searchParams.get('after') !== String(this.revision)) return send()
        const once = () => {
          this.waiting.delete(once)
          send()
        }
        this.waiting.add(once)
        response.on('close', () => this.waiting.delete(once))
      })
    })
    this.port = await listen(this.server, this.port)
    this.logServer ??= createInternalServer(this.logs, (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { envelopes, sender, sequence } = IngestBatch.parse(JSON.parse(Buffer.concat(chunks).toString()))
        if (sequence <= (this.batches.get(sender) ?? 0)) return void response.writeHead(204).end()
        this.batches.set(sender, sequence)
        for (const one of envelopes)
          if (one.kind === 'metrics') this.metrics.push(one)
          else this.lines.push({ source: one.sourceType, stream: one.stream, text: one.text, index: one.instanceId })
        response.writeHead(204).end()
      })
    })
    if (this.logPort === 0) this.logPort = await listen(this.logServer, 0)
  }

  /** The scheduler goes away; the log store stays. */
  async vanish(): Promise<void> {
    this.server?.closeAllConnections()
    await new Promise<void>((resolve) => this.server?.close(() => resolve()))
  }

  async close(): Promise<void> {
    await this.vanish()
    this.logServer?.closeAllConnections()
    await new Promise<void>((resolve) => this.logServer?.close(() => resolve()))
  }

  wish(...wanted: WantedInstance[]): void {
    this.wanted = wanted
    this.revision++
    for (const answer of [...this.waiting]) answer()
  }

  forgetReport(): void {
    this.report = undefined
  }

  seen(instanceGuid: string): SeenInstance | undefined {
    return this.report?.instances.find((one) => one.instanceGuid === instanceGuid)
  }

  texts(source?: string): string[] {
    return this.lines.filter((line) => source === undefined || line.source === source).map(({ text }) => text)
  }

  private document(): CellDesired {
    return {
      leaseToken: this.leaseToken,
      revision: String(this.revision),
      instances: this.wanted,
      reservedAddresses: [],
      draining: false,
    }
  }
}

const listen = (server: Server, port: number): Promise<number> =>
  new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
