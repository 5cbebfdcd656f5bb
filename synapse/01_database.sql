-- The database, in the collation that Delta's text is in, and the schema of the views.
IF NOT EXISTS (SELECT * FROM sys.databases WHERE name = '$(database)')
    CREATE DATABASE [$(database)] COLLATE Latin1_General_100_BIN2_UTF8;
GO

USE [$(database)];
GO

IF SCHEMA_ID('sales') IS NULL
    EXEC ('CREATE SCHEMA [sales]');
GO
