import {
  type App,
  ClientError,
  CloudClient,
  configPath,
  type Endpoints,
  Http,
  readConfig,
  Session,
  type StoredConfig,
  writeConfig,
} from '@bloomery/client'
import type { Terminal } from './terminal.js'

interface Surroundings {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** Ends what follows without end. */
  readonly signal: AbortSignal
}

/** What every command works with. */
export class Context {
  private opened: CloudClient | undefined
  private saving: Promise<void> = Promise.resolve()

  private constructor(
    readonly terminal: Terminal,
    readonly surroundings: Surroundings,
    private readonly path: string,
    public config: StoredConfig,
  ) {}

  static async open(terminal: Terminal, surroundings: Surroundings): Promise<Context> {
    const path = configPath(surroundings.env['BLOOM_HOME'])
    return new Context(terminal, surroundings, path, await readConfig(path))
  }

  /** Changes what is named and leaves the rest as another bloom may have written it meanwhile. */
  save(change: Partial<StoredConfig>): Promise<void> {
    this.config = { ...this.config, ...change }
    const saved = this.saving.then(async () => writeConfig(this.path, { ...(await readConfig(this.path)), ...change }))
    this.saving = saved.catch(() => undefined)
    return saved
  }

  get endpoints(): Endpoints {
    if (this.config.endpoints) return this.config.endpoints
    throw new ClientError('not-logged-in', 'No API is targeted. Log in with: bloom login -a URL')
  }

  /** The client of the stored login. */
  get client(): CloudClient {
    if (this.opened) return this.opened
    const { endpoints } = this
    const { tokens, skipSslValidation } = this.config
    if (!tokens) throw new ClientError('not-logged-in', 'Not logged in. Log in with: bloom login')
    const http = new Http({ skipSslValidation })
    const session = new Session(http, endpoints, tokens, (renewed) => {
      // The command goes on with the tokens in memory; only the next one has to renew them again.
      this.save({ tokens: renewed }).catch((error: unknown) =>
        this.terminal.warn(`The login could not be kept: ${String(error)}`),
      )
    })
    this.opened = new CloudClient(http, endpoints, session, (warning) => this.terminal.warn(warning))
    return this.opened
  }

  get organization(): { guid: string; name: string } {
    if (this.config.organization) return this.config.organization
    throw new ClientError('not-logged-in', 'No org is targeted. Target one with: bloom target -o ORG')
  }
  get space(): { guid: string; name: string } {
    if (this.config.space) return this.config.space
    throw new ClientError('not-logged-in', 'No space is targeted. Target one with: bloom target -s SPACE')
  }

  async findApp(name: string): Promise<App | undefined> {
    const [app] = await this.client.list<App>('/v3/apps', { names: [name], space_guids: this.space.guid })
    return app
  }
  async app(name: string): Promise<App> {
    const app = await this.findApp(name)
    if (app) return app
    const where = `space ${this.space.name} of org ${this.organization.name}`
    throw new ClientError('not-found', `App '${name}' not found in ${where}. See: bloom apps`)
  }

  /** "Verb app NAME in org O / space S as U…", as cf begins. */
  announce(what: string): void {
    const { terminal } = this
    const where = `in org ${terminal.name(this.organization.name)} / space ${terminal.name(this.space.name)}`
    terminal.line(`${what} ${where} as ${terminal.name(this.client.session.userName)}...`)
    terminal.line()
  }

  async close(): Promise<void> {
    await this.saving
    await this.opened?.close()
  }
}
