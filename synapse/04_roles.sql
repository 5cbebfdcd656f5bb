-- Who may do what. Members: ALTER ROLE [cdp_readers] ADD MEMBER [<user or group>];
USE [$(database)];
GO

IF DATABASE_PRINCIPAL_ID('cdp_readers') IS NULL
    CREATE ROLE [cdp_readers];
GO

IF DATABASE_PRINCIPAL_ID('cdp_admins') IS NULL
    CREATE ROLE [cdp_admins];
GO

-- Readers see the views, and name no files themselves: what they may see is decided here, not by what lies in the lake.
GRANT SELECT ON SCHEMA::[sales] TO [cdp_readers];
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [cdp_readers];
DENY ADMINISTER DATABASE BULK OPERATIONS TO [cdp_readers];
GO

-- Admins make views anew and choose the readers. They can read every file of the copies.
GRANT CONTROL ON SCHEMA::[sales] TO [cdp_admins];
GRANT CREATE VIEW TO [cdp_admins];
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [cdp_admins];
GRANT ADMINISTER DATABASE BULK OPERATIONS TO [cdp_admins];
GRANT ALTER ON ROLE::[cdp_readers] TO [cdp_admins];
GO
