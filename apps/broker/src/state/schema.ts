import { type Pool, rows, sql, transaction } from '@bloomery/database/sql'
import { BROKER_KEY_USES } from '@bloomery/secrets'

/** Steps of the broker's own schema, in order; each is applied once. What is here has shipped: add, never change. */
const STEPS: readonly string[] = [
  `CREATE TABLE leases (name text PRIMARY KEY, holder text NOT NULL, token bigint NOT NULL, expires_at timestamptz NOT NULL);
   CREATE TABLE servers (
     name text PRIMARY KEY, kind text NOT NULL, address text NOT NULL, ports jsonb NOT NULL, secret jsonb NOT NULL,
     memory_mb int NOT NULL, disk_mb int NOT NULL, removing boolean NOT NULL DEFAULT false,
     created_at timestamptz NOT NULL DEFAULT now());
   CREATE TABLE instances (
     guid text PRIMARY KEY, service_id text NOT NULL, plan_id text NOT NULL,
     organization_guid text NOT NULL, space_guid text NOT NULL, context jsonb, parameters jsonb NOT NULL,
     state text NOT NULL CHECK (state IN ('provisioning', 'ready', 'failed', 'deleting')),
     schedule text, keep_backups int NOT NULL DEFAULT 7, next_backup_at timestamptz, exceeded boolean NOT NULL DEFAULT false,
     created_at timestamptz NOT NULL DEFAULT now());
   CREATE INDEX instances_next_backup ON instances (next_backup_at) WHERE next_backup_at IS NOT NULL;
   CREATE TABLE bindings (
     guid text NOT NULL, instance_guid text NOT NULL REFERENCES instances ON DELETE CASCADE,
     request jsonb NOT NULL, username text NOT NULL, password jsonb NOT NULL, answer jsonb,
     state text NOT NULL CHECK (state IN ('binding', 'ready', 'failed', 'unbinding')),
     created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (instance_guid, guid));
   CREATE TABLE operations (
     id uuid PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY, instance_guid text NOT NULL, binding_guid text,
     kind text NOT NULL, request jsonb NOT NULL, stage text NOT NULL DEFAULT '',
     state text NOT NULL DEFAULT 'in progress' CHECK (state IN ('in progress', 'succeeded', 'failed')),
     description text, cancelled boolean NOT NULL DEFAULT false,
     created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz);
   CREATE INDEX operations_open ON operations (seq) WHERE state = 'in progress';
   CREATE INDEX operations_of ON operations (instance_guid, seq);
   CREATE TABLE backups (
     id text PRIMARY KEY, instance_guid text NOT NULL REFERENCES instances ON DELETE CASCADE,
     state text NOT NULL CHECK (state IN ('making', 'made', 'failed')), scheduled boolean NOT NULL, bytes bigint, plan_id text NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now());
   CREATE INDEX backups_of ON backups (instance_guid, created_at);`,
  `ALTER TABLE servers ADD COLUMN resting boolean NOT NULL DEFAULT false`,
  `ALTER TABLE servers ADD COLUMN source text`,
  `ALTER TABLE operations ADD COLUMN request_identity text;
   CREATE UNIQUE INDEX operations_of_request ON operations (instance_guid, request_identity)`,
  `CREATE VIEW ${BROKER_KEY_USES.view} AS
     SELECT kid, count(*)::int AS secrets FROM (
       SELECT secret ->> 'kid' AS kid FROM servers
       UNION ALL SELECT password ->> 'kid' FROM bindings
       UNION ALL SELECT answer ->> 'kid' FROM bindings WHERE answer IS NOT NULL) AS sealed
     GROUP BY kid`,
]

/** The schema in which all of the broker's tables lie; nothing else uses it. */
const BROKER_SCHEMA = BROKER_KEY_USES.schema

/** The same database, with the broker's schema as the only one searched. */
export function inBrokerSchema(url: string): string {
  const at = url.includes('?') ? '&' : '?'
  return `${url}${at}options=${encodeURIComponent(`-c search_path=${BROKER_SCHEMA}`)}`
}

/** Makes the schema or brings it up to date; safe at every start, and by two at once. */
export async function prepareSchema(pool: Pool): Promise<void> {
  await transaction(pool, async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:broker-schema', 0))`)
    await tx.query(`CREATE SCHEMA IF NOT EXISTS ${BROKER_SCHEMA}`)
    await tx.query('CREATE TABLE IF NOT EXISTS steps (number int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())')
    const done = new Set((await rows<{ number: number }>(tx, sql`SELECT number FROM steps`)).map(({ number }) => number))
    if ([...done].some((number) => number >= STEPS.length))
      throw new Error("The broker's data was written by a newer version of Bloomery; start that one.")
    for (const [number, step] of STEPS.entries()) {
      if (done.has(number)) continue
      await tx.query(step)
      await tx.query('INSERT INTO steps (number) VALUES ($1)', [number])
    }
  })
}
