import { brokerPasswordContext } from '../service-operations/brokers.js'
import { operationParamsContext } from '../service-operations/service-operations.js'
import { refusedUpdateContext } from '../resources/service-instances/usability.js'
import { routeServiceKeyContext } from '../nodes/route-service-keys.js'
import {
  bindingCredentialsContext,
  buildFilesContext,
  groupContext,
  instanceCredentialsContext,
  specFilesContext,
  variablesContext,
} from '../runs/environment-sources.js'

/** A column of secrets under the keyring, and where each is bound to. */
export interface EncryptedColumn {
  readonly table: string
  /** Column that names a row. */
  readonly key: string
  readonly column: string
  readonly contextOf: (key: string) => string
}

const at = (prefix: string) => (key: string) => `${prefix}:${key}`

/** Every column that holds secrets; a test compares this with the database. */
export const ENCRYPTED_COLUMNS: readonly EncryptedColumn[] = [
  { table: 'authorities', key: 'guid', column: 'private_key_encrypted', contextOf: at('authority') },
  { table: 'ingress_certificates', key: 'guid', column: 'private_key_encrypted', contextOf: at('ingress_certificate') },
  { table: 'signing_keys', key: 'kid', column: 'private_key_encrypted', contextOf: at('signing_key') },
  { table: 'acme_accounts', key: 'directory_url', column: 'private_key_encrypted', contextOf: at('acme_account') },
  { table: 'acme_challenges', key: 'token', column: 'private_key_encrypted', contextOf: at('acme_challenge') },
  { table: 'apps', key: 'guid', column: 'environment_variables_encrypted', contextOf: variablesContext },
  { table: 'run_specs', key: 'guid', column: 'environment_encrypted', contextOf: at('spec') },
  { table: 'run_specs', key: 'guid', column: 'files_encrypted', contextOf: specFilesContext },
  { table: 'builds', key: 'guid', column: 'environment_encrypted', contextOf: at('build') },
  { table: 'builds', key: 'guid', column: 'files_encrypted', contextOf: buildFilesContext },
  {
    table: 'environment_variable_groups',
    key: 'name',
    column: 'var_encrypted',
    contextOf: (name) => groupContext(name === 'staging' ? 'staging' : 'running'),
  },
  { table: 'service_brokers', key: 'guid', column: 'password_encrypted', contextOf: brokerPasswordContext },
  { table: 'service_operations', key: 'guid', column: 'params_encrypted', contextOf: operationParamsContext },
  { table: 'service_instances', key: 'guid', column: 'credentials_encrypted', contextOf: instanceCredentialsContext },
  { table: 'service_instances', key: 'guid', column: 'refused_update_encrypted', contextOf: refusedUpdateContext },
  { table: 'credential_bindings', key: 'guid', column: 'credentials_encrypted', contextOf: bindingCredentialsContext },
  { table: 'route_service_keys', key: 'guid', column: 'secret_encrypted', contextOf: routeServiceKeyContext },
  { table: 'jobs', key: 'guid', column: 'params_encrypted', contextOf: at('job') },
]
