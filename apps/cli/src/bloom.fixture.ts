import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { FakeCloud, json } from '@bloomery/client/testing'
import { runBloom } from './main.js'

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A cloud of a test's own, and bloom run against it with a home of its own. */
export class Bloom {
  readonly cloud = new FakeCloud()
  /** What `take` and `takeAsJob` have seen. */
  readonly sent: { readonly route: string; readonly body: unknown }[] = []
  home = ''
  env: NodeJS.ProcessEnv = {}
  /** What came out so far, of the command under way. */
  stdout = ''
  stderr = ''
  isTTY = false

  async open(): Promise<void> {
    this.home = await mkdtemp(join(tmpdir(), 'bloom-'))
    this.env = { BLOOM_HOME: this.home }
    await this.cloud.open()
    this.list('/v3/organizations', [{ guid: 'o', name: 'acme' }])
    this.list('/v3/spaces', [{ guid: 's', name: 'dev' }])
  }

  async run(
    line: string | readonly string[],
    options: { cwd?: string; signal?: AbortSignal; stdin?: PassThrough } = {},
  ): Promise<Ended> {
    this.stdout = ''
    this.stderr = ''
    const sink = (take: (text: string) => void): Writable =>
      Object.assign(
        new Writable({
          write: (chunk: Buffer, _encoding, done) => {
            take(chunk.toString())
            done()
          },
        }),
        { isTTY: this.isTTY },
      )
    const code = await runBloom({
      argv: typeof line === 'string' ? line.split(' ') : line,
      env: this.env,
      cwd: options.cwd ?? this.home,
      stdin: Object.assign(options.stdin ?? new PassThrough(), { isTTY: this.isTTY }),
      stdout: sink((text) => (this.stdout += text)),
      stderr: sink((text) => (this.stderr += text)),
      ...(options.signal ? { signal: options.signal } : {}),
    })
    return { code, stdout: this.stdout, stderr: this.stderr }
  }

  async login(): Promise<void> {
    const { code, stderr } = await this.run(`login -a ${this.cloud.url} -u admin -p right`)
    if (code !== 0) throw new Error(stderr)
    this.cloud.requests.length = 0
  }

  list(path: string, resources: readonly unknown[]): void {
    this.cloud.on(`GET ${path}`, (_request, response) => json(response, 200, { pagination: { next: null }, resources }))
  }
  answer(route: string, status: number, body: unknown): void {
    this.cloud.on(route, (_request, response) => json(response, status, body))
  }

  /** Keeps what is sent there, by method and path, and answers. */
  take(route: string, status = 200, answer: unknown = {}): void {
    this.cloud.on(route, (_request, response, body) => {
      this.#keep(route, body)
      return json(response, status, answer)
    })
  }
  /** The same as work that ends a moment later. */
  takeAsJob(route: string): void {
    this.cloud.on(route, (_request, response, body) => {
      this.#keep(route, body)
      let polls = 0
      this.cloud.on('GET /v3/jobs/j', (_poll, answer) =>
        json(answer, 200, { guid: 'j', operation: 'x', state: polls++ === 0 ? 'POLLING' : 'COMPLETE' }),
      )
      return json(response, 202, {}, { location: `${this.cloud.url}/v3/jobs/j` })
    })
  }
  #keep(route: string, body: Buffer): void {
    this.sent.push({ route, body: body.length > 0 ? (JSON.parse(body.toString()) as unknown) : undefined })
  }

  async close(): Promise<void> {
    await this.cloud.close()
    await rm(this.home, { recursive: true, force: true })
  }
}

export const anApp = (name = 'shop', state = 'STARTED') => ({
  guid: `${name}-guid`,
  name,
  state,
  lifecycle: { type: 'buildpack', data: { stack: 'cflinuxfs4', buildpacks: [] } },
})

/** What `bloom app` asks for, of an app with one instance. */
export function serveApp(bloom: Bloom, app = anApp()): void {
  bloom.list('/v3/apps', [app])
  bloom.list(`/v3/apps/${app.guid}/routes`, [
    { guid: 'r', url: `${app.name}.apps.localhost`, destinations: [{ app: { guid: app.guid } }] },
  ])
  bloom.list(`/v3/apps/${app.guid}/processes`, [{ guid: app.guid, type: 'web', memory_in_mb: 64 }])
  bloom.list('/v3/deployments', [])
  bloom.answer(`GET /v3/apps/${app.guid}/droplets/current`, 404, {
    errors: [{ code: 10010, title: 'CF-ResourceNotFound', detail: 'Droplet not found' }],
  })
  bloom.answer(`GET /v3/processes/${app.guid}/stats`, 200, {
    resources: [
      {
        index: 0,
        state: 'RUNNING',
        uptime: 5,
        usage: { cpu: 0.015, mem: 1048576, disk: 0, log_rate: 0 },
        mem_quota: 67108864,
        disk_quota: 1073741824,
        log_rate_limit: -1,
        routable: true,
      },
    ],
  })
}
