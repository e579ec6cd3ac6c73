import type { SyslogDrain, SyslogDrains } from '@bloomery/contracts'
import { rows, sql, type Pool } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'
import { bindingCredentialsContext, Credentials, instanceCredentialsContext } from '../runs/environment-sources.js'

interface Row {
  binding_guid: string
  instance_guid: string
  url: string
  trusted: boolean
  app_guid: string
  app_name: string
  space_guid: string
  space_name: string
  organization_guid: string
  organization_name: string
  binding_credentials: unknown
  instance_credentials: unknown
}

/** The drains of all bound apps, whatever gave their addresses; for the log store. */
export class SyslogDrainList {
  constructor(
    private readonly pool: Pool,
    private readonly keyring: Keyring,
  ) {}

  /** undefined: nothing has changed since that revision. */
  async read(known: string | undefined): Promise<SyslogDrains | undefined> {
    const [state] = await rows<{ revision: string }>(
      this.pool,
      sql`SELECT md5(coalesce(string_agg(concat_ws('|', b.guid, coalesce(b.syslog_drain_url, i.syslog_drain_url), b.updated_at, i.updated_at, a.name, s.name,
            o.name, k.space_guid), '~' ORDER BY b.guid), '')) AS revision
          FROM credential_bindings b JOIN service_instances i ON i.guid = b.service_instance_guid JOIN apps a ON a.guid = b.app_guid
            JOIN spaces s ON s.guid = a.space_guid JOIN organizations o ON o.guid = s.organization_guid
            LEFT JOIN service_plans p ON p.guid = i.plan_guid LEFT JOIN service_offerings f ON f.guid = p.offering_guid
            LEFT JOIN service_brokers k ON k.guid = f.broker_guid
          WHERE b.type = 'app' AND coalesce(b.syslog_drain_url, i.syslog_drain_url, '') <> ''
            AND NOT (b.last_operation->>'type' = 'create' AND b.last_operation->>'state' <> 'succeeded')`,
    )
    const revision = state?.revision ?? ''
    if (revision === known) return undefined
    const found = await rows<Row>(
      this.pool,
      sql`SELECT b.guid AS binding_guid, i.guid AS instance_guid, coalesce(b.syslog_drain_url, i.syslog_drain_url) AS url,
            (k.guid IS NOT NULL AND k.space_guid IS NULL) AS trusted, a.guid AS app_guid, a.name AS app_name, s.guid AS space_guid,
            s.name AS space_name, o.guid AS organization_guid, o.name AS organization_name,
            b.credentials_encrypted AS binding_credentials, i.credentials_encrypted AS instance_credentials
          FROM credential_bindings b JOIN service_instances i ON i.guid = b.service_instance_guid JOIN apps a ON a.guid = b.app_guid
            JOIN spaces s ON s.guid = a.space_guid JOIN organizations o ON o.guid = s.organization_guid
            LEFT JOIN service_plans p ON p.guid = i.plan_guid LEFT JOIN service_offerings f ON f.guid = p.offering_guid
            LEFT JOIN service_brokers k ON k.guid = f.broker_guid
          WHERE b.type = 'app' AND coalesce(b.syslog_drain_url, i.syslog_drain_url, '') <> ''
            AND NOT (b.last_operation->>'type' = 'create' AND b.last_operation->>'state' <> 'succeeded')
          ORDER BY b.created_at, b.guid`,
    )
    // The newest binding of an app to an address is the one whose certificates count.
    const drains = new Map(found.map((row) => [`${row.app_guid} ${row.url}`, this.#present(row)]))
    return { revision, drains: [...drains.values()] }
  }

  #present(row: Row): SyslogDrain {
    return {
      appGuid: row.app_guid,
      appName: row.app_name,
      spaceGuid: row.space_guid,
      spaceName: row.space_name,
      organizationGuid: row.organization_guid,
      organizationName: row.organization_name,
      url: row.url,
      trusted: row.trusted,
      ...this.#certificates(row),
    }
  }

  #certificates(row: Row): Pick<SyslogDrain, 'certificatePem' | 'privateKeyPem' | 'authorityPem'> {
    if (row.url.startsWith('syslog:')) return {}
    const { cert, key, ca } = this.#credentials(row)
    return {
      ...(typeof cert === 'string' && typeof key === 'string' ? { certificatePem: cert, privateKeyPem: key } : {}),
      ...(typeof ca === 'string' ? { authorityPem: ca } : {}),
    }
  }

  #credentials(row: Row): Record<string, unknown> {
    if (row.binding_credentials !== null)
      return this.keyring.decryptJson(row.binding_credentials, bindingCredentialsContext(row.binding_guid), Credentials)
    if (row.instance_credentials !== null)
      return this.keyring.decryptJson(row.instance_credentials, instanceCredentialsContext(row.instance_guid), Credentials)
    return {}
  }
}
