import { randomBytes, randomUUID } from 'node:crypto'
import type { RunSpec } from '@bloomery/contracts'
import { execute, rows, sql, type Pool } from '@bloomery/database/sql'
import { Keyring } from '@bloomery/secrets'

export const testKeyring = new Keyring('k1', new Map([['k1', randomBytes(32)]]))

export interface TestApp {
  readonly guid: string
  readonly processGuid: string
  readonly routeGuid: string
  readonly host: string
}

/** Writes desired state as the API does. */
export class Installation {
  readonly spaceGuid = randomUUID()
  readonly organizationGuid = randomUUID()
  readonly #domainGuid = randomUUID()
  #apps = 0
  constructor(readonly pool: Pool) {}

  async prepare(): Promise<this> {
    const quota = randomUUID()
    await execute(this.pool, sql`INSERT INTO organization_quotas (guid, name) VALUES (${quota}, ${quota})`)
    await execute(
      this.pool,
      sql`INSERT INTO organizations (guid, name, quota_guid) VALUES (${this.organizationGuid}, ${this.organizationGuid}, ${quota})`,
    )
    await execute(
      this.pool,
      sql`INSERT INTO spaces (guid, name, organization_guid) VALUES (${this.spaceGuid}, 'dev', ${this.organizationGuid})`,
    )
    await execute(this.pool, sql`INSERT INTO domains (guid, name) VALUES (${this.#domainGuid}, 'Apps.Example')`)
    return this
  }

  /** A started app with one web process and a route. */
  async startApp(options: { instances?: number; memoryMb?: number; type?: string } = {}): Promise<TestApp> {
    const guid = randomUUID()
    const name = `app-${++this.#apps}`
    const droplet = await this.#droplet(guid, () =>
      execute(
        this.pool,
        sql`INSERT INTO apps (guid, name, space_guid, state) VALUES (${guid}, ${name}, ${this.spaceGuid}, 'STARTED')`,
      ),
    )
    await execute(this.pool, sql`UPDATE apps SET current_droplet_guid = ${droplet} WHERE guid = ${guid}`)
    const type = options.type ?? 'web'
    await this.addProcess({ guid, appGuid: guid, type, instances: options.instances ?? 1, memoryMb: options.memoryMb ?? 64 })
    await this.writeSpec(guid, droplet, 'current')
    const routeGuid = randomUUID()
    await execute(
      this.pool,
      sql`INSERT INTO routes (guid, host, domain_guid, space_guid) VALUES (${routeGuid}, ${name}, ${this.#domainGuid}, ${this.spaceGuid})`,
    )
    await execute(
      this.pool,
      sql`INSERT INTO route_destinations (guid, route_guid, app_guid) VALUES (${randomUUID()}, ${routeGuid}, ${guid})`,
    )
    return { guid, processGuid: guid, routeGuid, host: `${name}.apps.example` }
  }

  async addProcess(process: {
    guid: string
    appGuid: string
    type: string
    instances: number
    memoryMb: number
    deploymentGuid?: string
  }): Promise<void> {
    await execute(
      this.pool,
      sql`INSERT INTO processes (guid, app_guid, type, instances, memory_mb, disk_mb, health_check, version, deployment_guid)
          VALUES (${process.guid}, ${process.appGuid}, ${process.type}, ${process.instances}, ${process.memoryMb}, 128, '{"type":"port"}',
            ${randomUUID()}, ${process.deploymentGuid ?? null})`,
    )
  }

  /** A new version of what a process shall run; `current`: from now on. */
  async writeSpec(processGuid: string, dropletGuid: string, when: 'current' | 'later'): Promise<string> {
    const [process] = await rows<{ appGuid: string; type: string; memoryMb: number; version: number }>(
      this.pool,
      sql`SELECT p.app_guid AS "appGuid", p.type, p.memory_mb AS "memoryMb",
            (SELECT coalesce(max(version), 0) + 1 FROM run_specs WHERE process_guid = p.guid) AS version
          FROM processes p WHERE p.guid = ${processGuid}`,
    )
    const guid = randomUUID()
    const spec: Partial<RunSpec> = {
      guid,
      version: process!.version,
      appGuid: process!.appGuid,
      appName: 'app',
      spaceGuid: this.spaceGuid,
      spaceName: 'dev',
      organizationGuid: this.organizationGuid,
      organizationName: 'org',
      processGuid,
      processType: process!.type,
      stack: 'cflinuxfs4',
      dropletGuid,
      command: null,
      memoryMb: process!.memoryMb,
      diskMb: 128,
      logRateLimit: -1,
      cpuWeight: 1,
      healthCheck: { type: 'port' },
    }
    const environment = testKeyring.encryptJson({ GREETING: 'hello' }, `spec:${guid}`)
    await execute(
      this.pool,
      sql`INSERT INTO run_specs (guid, process_guid, app_guid, version, droplet_guid, spec, environment_encrypted)
          VALUES (${guid}, ${processGuid}, ${process!.appGuid}, ${process!.version}, ${dropletGuid}, ${JSON.stringify(spec)},
            ${JSON.stringify(environment)})`,
    )
    if (when === 'current')
      await execute(this.pool, sql`UPDATE processes SET current_spec_guid = ${guid} WHERE guid = ${processGuid}`)
    return guid
  }

  async restart(app: TestApp): Promise<void> {
    const [{ droplet } = { droplet: '' }] = await rows<{ droplet: string }>(
      this.pool,
      sql`SELECT current_droplet_guid AS droplet FROM apps WHERE guid = ${app.guid}`,
    )
    await this.writeSpec(app.processGuid, droplet, 'current')
  }

  async stop(app: TestApp): Promise<void> {
    await execute(this.pool, sql`UPDATE apps SET state = 'STOPPED' WHERE guid = ${app.guid}`)
  }

  async delete(app: TestApp): Promise<void> {
    await execute(this.pool, sql`DELETE FROM routes WHERE guid = ${app.routeGuid}`)
    await execute(this.pool, sql`DELETE FROM apps WHERE guid = ${app.guid}`)
  }

  async scale(processGuid: string, instances: number): Promise<void> {
    await execute(this.pool, sql`UPDATE processes SET instances = ${instances} WHERE guid = ${processGuid}`)
  }

  /** A rolling deployment of a new droplet, as POST /v3/deployments writes it. */
  async deploy(
    app: TestApp,
    options: Record<string, unknown> = {},
  ): Promise<{ guid: string; processGuid: string; droplet: string }> {
    const guid = randomUUID()
    const processGuid = randomUUID()
    const droplet = await this.#droplet(app.guid)
    const [old] = await rows<{ guid: string; instances: number; droplet: string }>(
      this.pool,
      sql`SELECT p.guid, p.instances, a.current_droplet_guid AS droplet FROM processes p JOIN apps a ON a.guid = p.app_guid
          WHERE a.guid = ${app.guid} AND p.type = 'web' ORDER BY p.created_at LIMIT 1`,
    )
    await this.addProcess({ guid: processGuid, appGuid: app.guid, type: 'web', instances: 0, memoryMb: 64, deploymentGuid: guid })
    await this.writeSpec(processGuid, droplet, 'current')
    await execute(this.pool, sql`UPDATE apps SET current_droplet_guid = ${droplet} WHERE guid = ${app.guid}`)
    await execute(
      this.pool,
      sql`UPDATE deployments SET status_value = 'FINALIZED', status_reason = 'SUPERSEDED' WHERE app_guid = ${app.guid} AND status_value = 'ACTIVE'`,
    )
    await execute(
      this.pool,
      sql`INSERT INTO deployments (guid, app_guid, status_value, status_reason, droplet_guid, previous_droplet_guid, old_process_guid,
            new_process_guid, options, original_instances)
          VALUES (${guid}, ${app.guid}, 'ACTIVE', 'DEPLOYING', ${droplet}, ${old!.droplet}, ${old!.guid}, ${processGuid},
            ${JSON.stringify(options)}, ${old!.instances})`,
    )
    return { guid, processGuid, droplet }
  }

  async #droplet(appGuid: string, before: () => Promise<unknown> = () => Promise.resolve()): Promise<string> {
    await before()
    const guid = randomUUID()
    await execute(
      this.pool,
      sql`INSERT INTO droplets (guid, app_guid, state, sha256, size_bytes, blob_key)
          VALUES (${guid}, ${appGuid}, 'STAGED', ${`sha-${guid}`}, 1000, ${`droplets/${guid}`})`,
    )
    return guid
  }
}
