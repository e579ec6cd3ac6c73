import type { Pool } from '@bloomery/database/sql'

/** All that stops a database from growing is named so, and is left out where its dumps are read back. */
export const GROWTH_STOP = 'bloomery_limit'
const DEFINITIONS = `${GROWTH_STOP}_definitions`
const QUOTE = '$bloomery$'

/** By which large objects grow; unlinking them stays. */
const LARGE_OBJECT_WRITERS = ['lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'lo_truncate', 'lo_truncate64']

const REFUSE = `RAISE EXCEPTION USING ERRCODE = 'disk_full',
  MESSAGE = 'this service instance has outgrown its plan',
  HINT = 'Delete, truncate or drop data (after deleting: VACUUM FULL), or choose a larger plan.';`

/** What is dropped makes room, unless it is what stops growth. Whoever administers is not stopped. */
const FUNCTIONS = `
  CREATE SCHEMA IF NOT EXISTS ${GROWTH_STOP};
  CREATE OR REPLACE FUNCTION ${GROWTH_STOP}.refuse() RETURNS trigger LANGUAGE plpgsql AS ${QUOTE} BEGIN ${REFUSE} END ${QUOTE};
  CREATE OR REPLACE FUNCTION ${GROWTH_STOP}.refuse_definitions() RETURNS event_trigger LANGUAGE plpgsql AS ${QUOTE} BEGIN
    IF session_user = 'bloomery' OR (tg_tag LIKE 'DROP %' AND tg_tag NOT IN ('DROP TRIGGER', 'DROP OWNED')) THEN RETURN; END IF;
    ${REFUSE}
  END ${QUOTE};`

/**
 * Stops all growth of a database, whatever a client says in its session: rows are neither added nor changed, nothing is defined, and what
 * enforces this cannot be taken away by the owner. Reading, deleting, truncating and dropping go on. Is called twice: before sessions
 * are ended, and after that, when no transaction of before can add a table any more.
 */
export async function stopGrowth(inside: Pool): Promise<void> {
  await inside.query(FUNCTIONS)
  const { rowCount } = await inside.query('SELECT 1 FROM pg_event_trigger WHERE evtname = $1', [DEFINITIONS])
  if (rowCount === 0)
    await inside.query(
      `CREATE EVENT TRIGGER ${DEFINITIONS} ON ddl_command_start EXECUTE FUNCTION ${GROWTH_STOP}.refuse_definitions()`,
    )
  await largeObjects(inside, 'REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC')
  const { rows: tables } = await inside.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
       AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = $1)`,
    [GROWTH_STOP],
  )
  for (const { name } of tables)
    await inside
      .query(
        `CREATE TRIGGER ${GROWTH_STOP} BEFORE INSERT OR UPDATE ON ${name} FOR EACH STATEMENT EXECUTE FUNCTION ${GROWTH_STOP}.refuse()`,
      )
      .catch(unlessGone)
}

/** As before. Fine where nothing was stopped. */
export async function allowGrowth(inside: Pool): Promise<void> {
  await inside.query(`DROP EVENT TRIGGER IF EXISTS ${DEFINITIONS}`)
  await largeObjects(inside, 'GRANT EXECUTE ON FUNCTION %s TO PUBLIC')
  // With the functions go the triggers that call them.
  await inside.query(`DROP SCHEMA IF EXISTS ${GROWTH_STOP} CASCADE`)
}

async function largeObjects(inside: Pool, statement: string): Promise<void> {
  const { rows } = await inside.query<{ statement: string }>(
    `SELECT format($1, oid::regprocedure) AS statement FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY($2)`,
    [statement, LARGE_OBJECT_WRITERS],
  )
  for (const row of rows) await inside.query(row.statement)
}

/** A table may be dropped meanwhile. */
function unlessGone(error: unknown): void {
  if ((error as { code?: string }).code !== '42P01') throw error
}

/** The contents of a dump, as pg_restore lists them, without what stopped the growth of the database that was dumped. */
export const withoutGrowthStop = (list: string): string =>
  list
    .split('\n')
    .filter((line) => !new RegExp(`\\b${GROWTH_STOP}(_definitions)?\\b`).test(line))
    .join('\n')
