import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CfError, type JoinRequest, type NodeRole } from '@bloomery/contracts'
import { execute, rows, sql, type Pool } from '@bloomery/database'
import { createJoinToken, hashJoinToken } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'

const BOOTSTRAP_ROLES = ['scheduler', 'stager', 'logs', 'cell', 'router', 'launcher'] as const satisfies readonly NodeRole[]
const LIFETIME_HOURS = 24
const LOOK_EVERY_MS = 60_000

/** One-time tokens by which nodes obtain their certificate. Only hashes are kept. */
export class JoinTokens {
  constructor(
    private readonly pool: Pool,
    private readonly authorityPem: string,
  ) {}

  async create(role: NodeRole, nodeId?: string): Promise<{ token: string; guid: string }> {
    const { token, hash } = createJoinToken(this.authorityPem)
    const guid = randomUUID()
    await execute(
      this.pool,
      sql`INSERT INTO join_tokens (guid, token_hash, role, node_id, expires_at)
          VALUES (${guid}, ${hash}, ${role}, ${nodeId ?? null}, clock_timestamp() + ${LIFETIME_HOURS} * interval '1 hour')`,
    )
    return { token, guid }
  }

  /** Spends the token; answers the node's id. A token that is unknown, spent, expired or for another role is refused alike. */
  async spend(request: Pick<JoinRequest, 'token' | 'role' | 'nodeId'>): Promise<string> {
    const [row] = await rows<{ node_id: string | null }>(
      this.pool,
      sql`UPDATE join_tokens SET used_at = clock_timestamp()
          WHERE token_hash = ${hashJoinToken(request.token.trim())} AND role = ${request.role} AND used_at IS NULL
            AND expires_at > clock_timestamp() AND (node_id IS NULL OR node_id = ${request.nodeId ?? null})
          RETURNING node_id`,
    )
    if (!row)
      throw new CfError(
        'NotAuthenticated',
        `This join token is unknown, spent or expired, or it is not for the role '${request.role}'. Make a new one.`,
      )
    return row.node_id ?? request.nodeId ?? 'main'
  }

  async isGood(guid: string): Promise<boolean> {
    const found = await rows(
      this.pool,
      sql`SELECT 1 FROM join_tokens WHERE guid = ${guid} AND used_at IS NULL AND expires_at > clock_timestamp() + interval '1 hour'`,
    )
    return found.length === 1
  }
}

/** Keeps a good token for each role in a folder of its own, `<folder>/<role>/token`, so that each role can be given its own alone. */
export class BootstrapTokens {
  readonly #current = new Map<NodeRole, string>()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(
    private readonly tokens: JoinTokens,
    private readonly folder: string,
    private readonly log: Logger,
  ) {}

  /** Writes fresh ones at once: the token also tells roles which authority is the platform's now. */
  async start(): Promise<void> {
    for (const role of BOOTSTRAP_ROLES) await this.#write(role)
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** Replaces what was spent or will soon expire. */
  look(): void {
    this.#looking = this.#looking.then(async () => {
      try {
        for (const role of BOOTSTRAP_ROLES) {
          const guid = this.#current.get(role)
          if (!guid || !(await this.tokens.isGood(guid))) await this.#write(role)
        }
      } catch (error) {
        this.log.warn({ err: error }, 'join tokens could not be renewed, will try again')
      }
    })
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
  }

  async #write(role: NodeRole): Promise<void> {
    const { token, guid } = await this.tokens.create(role)
    const path = join(this.folder, role, 'token')
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(`${path}.new`, `${token}\n`, { mode: 0o600 })
    await rename(`${path}.new`, path)
    this.#current.set(role, guid)
  }
}
