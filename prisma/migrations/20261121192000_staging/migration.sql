-- What a droplet was made of, so that the same inputs need not be staged again and every app with a component can be found.
ALTER TABLE "droplets" ADD COLUMN "bits_sha256" TEXT;
ALTER TABLE "droplets" ADD COLUMN "settings_sha256" TEXT;
ALTER TABLE "droplets" ADD COLUMN "inputs" JSONB;
ALTER TABLE "droplets" ADD COLUMN "reused_at" TIMESTAMPTZ(3);
CREATE INDEX "droplets_app_guid_settings_sha256_idx" ON "droplets" ("app_guid", "settings_sha256");

ALTER TABLE "builds" ADD COLUMN "reused" BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE "builds" ADD COLUMN "waits_for" TEXT;

CREATE TABLE "droplet_components" (
  "droplet_guid" TEXT NOT NULL,
  "purl" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "version" TEXT NOT NULL,
  "version_key" BIGINT[] NOT NULL,
  "kind" TEXT NOT NULL DEFAULT 'library',
  "source" TEXT NOT NULL DEFAULT '',
  "checksum" TEXT,
  CONSTRAINT "droplet_components_pkey" PRIMARY KEY ("droplet_guid", "purl")
);
CREATE INDEX "droplet_components_name_version_key_idx" ON "droplet_components" ("name", "version_key");
ALTER TABLE "droplet_components" ADD CONSTRAINT "droplet_components_droplet_guid_fkey" FOREIGN KEY ("droplet_guid") REFERENCES "droplets" ("guid") ON DELETE CASCADE ON UPDATE CASCADE;

-- What a stager keeps on its machine without need, as it saw it last; an operator may ask for it to go before the next hour.
CREATE TABLE "machine_leftovers" (
  "node_id" TEXT NOT NULL,
  "path" TEXT NOT NULL,
  "kind" TEXT NOT NULL,
  "bytes" BIGINT NOT NULL,
  "reason" TEXT NOT NULL,
  "seen_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "asked_at" TIMESTAMPTZ(3),
  CONSTRAINT "machine_leftovers_pkey" PRIMARY KEY ("node_id", "path")
);
